export default {
  says: "RetailCRM says: “{words}”",
  codes: {
    not_configured: "The address or the key is missing: enter them under Connection.",
    crm_address: "The saved address is not RetailCRM's. Enter another one under Connection.",
    key_unreadable: "The saved key cannot be read. Enter it again under Connection.",
    key_of_another_address: "The saved key belongs to another address: enter the key for this one too.",
    misconfigured: "RetailCRM could not be asked: the saved address or key is faulty. Enter them again.",
    key_refused: "RetailCRM rejected the API key, or the key lacks permissions.",
    busy: "RetailCRM asks us to wait: there are too many requests.",
    unreachable: "Nobody answers at RetailCRM's address. Check the address.",
    no_answer: "RetailCRM did not finish its answer.",
    moved: "The RetailCRM account has moved. Enter its new address.",
    not_retailcrm: "Something other than RetailCRM answers at this address (status {status}). Check the address.",
    account_refused:
      "The RetailCRM account accepts nothing at the moment. Check that it is paid for and that the address is right.",
    fault: "RetailCRM has an internal error (status {status}). Try again later.",
    refused: "RetailCRM refused.",
  },
};
