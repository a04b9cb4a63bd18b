"""
Protobuf messages of `google.pubsub.v1`, as the official client package brings them.

Plain protobuf classes, not their proto-plus wrappers: the wrappers cost more than all the rest of a publish.
They are built at run time, so they have no static types.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import duration_pb2, empty_pb2, timestamp_pb2
from google.pubsub_v1 import types

Duration: Any = duration_pb2.Duration
Empty: Any = empty_pb2.Empty
Timestamp: Any = timestamp_pb2.Timestamp

Topic: Any = types.Topic.pb()
GetTopicRequest: Any = types.GetTopicRequest.pb()
UpdateTopicRequest: Any = types.UpdateTopicRequest.pb()
DeleteTopicRequest: Any = types.DeleteTopicRequest.pb()
ListTopicsRequest: Any = types.ListTopicsRequest.pb()
ListTopicsResponse: Any = types.ListTopicsResponse.pb()
ListTopicSubscriptionsRequest: Any = types.ListTopicSubscriptionsRequest.pb()
ListTopicSubscriptionsResponse: Any = types.ListTopicSubscriptionsResponse.pb()
DetachSubscriptionRequest: Any = types.DetachSubscriptionRequest.pb()
DetachSubscriptionResponse: Any = types.DetachSubscriptionResponse.pb()

PubsubMessage: Any = types.PubsubMessage.pb()
PublishRequest: Any = types.PublishRequest.pb()
PublishResponse: Any = types.PublishResponse.pb()

Subscription: Any = types.Subscription.pb()
GetSubscriptionRequest: Any = types.GetSubscriptionRequest.pb()
UpdateSubscriptionRequest: Any = types.UpdateSubscriptionRequest.pb()
DeleteSubscriptionRequest: Any = types.DeleteSubscriptionRequest.pb()
ListSubscriptionsRequest: Any = types.ListSubscriptionsRequest.pb()
ListSubscriptionsResponse: Any = types.ListSubscriptionsResponse.pb()
ModifyPushConfigRequest: Any = types.ModifyPushConfigRequest.pb()

ReceivedMessage: Any = types.ReceivedMessage.pb()
PullRequest: Any = types.PullRequest.pb()
PullResponse: Any = types.PullResponse.pb()
StreamingPullRequest: Any = types.StreamingPullRequest.pb()
StreamingPullResponse: Any = types.StreamingPullResponse.pb()
AcknowledgeRequest: Any = types.AcknowledgeRequest.pb()
ModifyAckDeadlineRequest: Any = types.ModifyAckDeadlineRequest.pb()
SeekRequest: Any = types.SeekRequest.pb()
SeekResponse: Any = types.SeekResponse.pb()
