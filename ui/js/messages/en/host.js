export default {
  title: "Phone system",
  lead: "What the phone system does wrong: by what calls are lost, or have to be guessed at.",
  period: "For how long",
  hour: "Hour",
  day: "Day",
  week: "Week",
  read: "Events read: {events}, calls: {calls}, since {since}.",
  capped: {
    title: "Only the last events were read",
    text: "There are more in this time: the last {events} came since {since}. To see all of them, choose less time, or ask support for make doctor.",
  },
  none: { title: "There are no events in this time", text: "Call any line, or choose more time." },
  well: { title: "The phone system does all that is needed", text: "Nothing is lost, and nothing has to be guessed." },
  loss: "Lost",
  guess: "Has to be guessed",
  example: "Examples",
  call_of: "Call {id}",
  findings: {
    clock_reset: {
      title: "The phone system's clock is in the last century: {count} of {of} events",
      text: "Let the phone system synchronise its time (NTP), and replace the battery of its clock.",
    },
    clock_wrong: {
      title: "The phone system's clock is off by about {seconds} s: {count} of {of} calls",
      text: "Let the phone system synchronise its time (NTP): pop-ups come too late by it, and times of calls are wrong.",
    },
    late: {
      title: "{percent} % of the events come late: {count} of {of}, the slowest took {worst} s",
      text: "Check the connection between phone system and gateway, and the phone system's queue: a pop-up is news for 15 seconds.",
    },
    gaps: {
      title: "The phone system was silent though calls went on: {count} times, at most {minutes} min",
      text: "Check the phone system's internet connection and its sender's ping: events of these minutes are missing.",
    },
    recovered: {
      title: "{percent} % of the events were recovered later from the phone system's log: {count} of {of}",
      text: "They did not arrive at first, so there were no pop-ups. Check the connection from the phone system to the gateway.",
    },
    no_number: {
      title: "No number in the records: {count} of {of} calls",
      text: "Unless customers hide their numbers, send Phone: without a number the CRM is told nothing.",
    },
    unread_numbers: {
      title: "Numbers that cannot be read: {count} of {of} events",
      text: "Send numbers in their international form (+375…), or give the line a rule for them.",
    },
    no_dials: {
      title: "A hangup, and no dial before it: {count} of {of} calls",
      text: "Send dial when a phone begins to ring: without it the pop-up is shown at the end only.",
    },
    no_hangups: {
      title: "The call was never hung up (no hangup came): {count} of {of} calls",
      text: "Send a hangup for every call: without it the row in the history comes later, and its result is guessed.",
    },
    ids_again: {
      title: "One UniqueId for different calls: {count} of {of}",
      text: "Give each phone system a systemname of its own in asterisk.conf: the channel ids of two phone systems are the same.",
    },
    shared_bridges: {
      title: "One BridgeUniqueid in dozens of channels: {count} of {of}",
      text: "Send the real BridgeUniqueid of each talk: a shared one ties nothing, and who answered is not seen.",
    },
    unknown_extensions: {
      title: "Extensions ring that the enterprise does not have: {count} of {of}",
      text: "Add them to the enterprise and map them to managers, or correct the ring group at the phone system.",
    },
    unknown_mobiles: {
      title: "Mobiles of nobody in the ring group: {count} of {of}",
      text: "Enter them as personal phones of the staff: otherwise nobody knows who answered.",
    },
    unknown_lines: {
      title: "Lines that are not in the list: {count} of {of} events",
      text: "Add the lines, or correct the trunk's name at the phone system: else no shop and no rule for numbers.",
    },
    zone_wrong: {
      title: "The phone system's local time is {hours} h off the zone {zone}: {count} of {of} calls",
      text: "Set the phone system's zone to {zone}, or change the enterprise's: till then the id of the channel tells time.",
    },
    no_starts: {
      title: "An incoming call without start: {count} of {of}",
      text: "Send start when an incoming call begins: without it the waiting before the first ring is unknown.",
    },
    no_bridges: {
      title: "Answered calls without bridge events: {count} of {of}",
      text: "Send bridge and bridge_leave: without them the duration and who answered are guessed.",
    },
    one_sided_bridges: {
      title: "A bridge event of one side of the talk only: {count} of {of}",
      text: "Send bridge for every channel: one alone does not show who talked with whom.",
    },
    no_leaves: {
      title: "A channel joined a bridge and never left (no bridge_leave): {count} of {of}",
      text: "Send bridge_leave for every channel: without it the end of a talk is taken from the phone system's times.",
    },
    phone_key_missing: {
      title: "Records without the key Phone: {count} of {of} events",
      text: "Send Phone: until then the number is taken from CallerIDNum, ConnectedLineNum or Extensions.",
    },
    call_type_missing: {
      title: "Records without CallType: {count} of {of} events",
      text: "Send CallType (0 incoming, 1 outgoing, 2 internal): until then the direction is guessed.",
    },
    spoiled_text: {
      title: "Spoiled text: {count} of {of} events",
      text: "Send the body in UTF-8, and do not cut names in the middle of a letter.",
    },
    copies: {
      title: "Needless copies of events: {count} of {of}",
      text: "Keep one sender per phone system: copies are dropped, but take room on the wire.",
    },
  },
};
