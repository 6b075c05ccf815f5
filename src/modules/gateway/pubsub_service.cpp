#include "modules/gateway/pubsub_service.h"

#include <simdjson.h>

#include <stdexcept>

#include "core/errors.h"
#include "core/event_codec.h"
#include "core/log.h"
#include "modules/gateway/publish_body.h"
#include "modules/gateway/sinks.h"
#include "modules/gateway/stream_query.h"
#include "rpc/transcoder.h"
#include "virtufin/pubsub.pb.h"

namespace virtufin::gateway {
namespace {

PublishResponse published() {
  PublishResponse response;
  response.mutable_status()->set_success(true);
  response.mutable_status()->set_status("OK");
  return response;
}

std::string json_of(const google::protobuf::Message& message) {
  std::string json;
  if (const absl::Status status = rpc::JsonCodec().to_json(message, json); !status.ok()) {
    throw std::logic_error(status.ToString());  // a message of our own
  }
  return json;
}

}  // namespace

PubsubService::PubsubService(bus::Bus& bus, std::shared_ptr<Fanout> fanout)
    : bus_(bus), published_json_(json_of(published())), fanout_(std::move(fanout)) {}

absl::Status PubsubService::check_open() const {
  return closed_.load(std::memory_order_acquire)
             ? unavailable("the gateway is stopping and takes nothing new; try again later")
             : absl::OkStatus();
}

void PubsubService::publish(std::string_view topic, absl::StatusOr<EventPtr> event,
                            bus::PublishDone done) const {
  if (absl::Status status = check_open(); !status.ok()) {
    return done(std::move(status));
  }
  if (topic.empty()) {
    return done(invalid_argument("topic is empty; name the topic to publish to"));
  }
  if (!simdjson::validate_utf8(topic.data(), topic.size())) {
    // By gRPC it cannot come this far; in a subscriber's message it would break the message.
    return done(invalid_argument("topic '{}' is not UTF-8", printable(topic)));
  }
  if (!event.ok()) {
    return done(event.status());
  }
  bus_.publish(bus_.topic(topic), *std::move(event), std::move(done));
}

void PubsubService::register_methods(rpc::MethodTable& methods) {
  const auto self = shared_from_this();
  methods.unary<PublishRequest, PublishResponse>(
      "virtufin.Pubsub/PublishEvent", [self](const rpc::CallPtr&, const PublishRequest& request,
                                             rpc::ReplyTo<PublishResponse> reply) {
        self->publish(request.topic(), event_from_proto(request.cloudevent()),
                      [reply = std::move(reply)](const absl::Status& status) mutable {
                        if (status.ok()) {
                          reply(published());
                        } else {
                          reply(status);
                        }
                      });
      });
  methods.server_stream<SubscribeRequest>(
      "virtufin.Pubsub/Subscribe", [self](const rpc::CallPtr& call, const SubscribeRequest& request,
                                          std::shared_ptr<rpc::ServerStream> stream) {
        if (const absl::Status status = self->check_open(); !status.ok()) {
          return stream->finish(status);
        }
        auto filter = StreamFilter::create(request.filter());
        if (!filter.ok()) {
          return stream->finish(filter.status());
        }
        StreamRequest wanted;
        wanted.topics.assign(request.topics().begin(), request.topics().end());
        wanted.filter = *std::move(filter);
        wanted.queue_events = request.queue_events();
        self->fanout_->open(std::move(wanted), make_method_sink(std::move(stream)), call);
      });
  methods.unary<UnsubscribeRequest, UnsubscribeResponse>(
      "virtufin.Pubsub/Unsubscribe", [self](const rpc::CallPtr&, const UnsubscribeRequest& request,
                                            rpc::ReplyTo<UnsubscribeResponse> reply) {
        if (request.subscription_id().empty()) {
          return reply(invalid_argument(
              "subscription_id is empty; give the one that Subscribe sent as metadata"));
        }
        self->fanout_->unsubscribe(request.subscription_id(),
                                   [reply = std::move(reply)](const absl::Status& status) mutable {
                                     if (!status.ok()) {
                                       return reply(status);
                                     }
                                     UnsubscribeResponse response;
                                     response.mutable_status()->set_success(true);
                                     response.mutable_status()->set_status("OK");
                                     reply(std::move(response));
                                   });
      });
}

void PubsubService::publish_over_http(const std::shared_ptr<rpc::HttpExchange>& exchange) const {
  const rpc::HttpRequest& request = exchange->request();
  publish(request.capture("topic"), event_from_publish_body(request.headers, request.body),
          [self = shared_from_this(), exchange](const absl::Status& status) {
            if (!status.ok()) {
              return exchange->reply(rpc::error_response(status));
            }
            rpc::HttpResponse response;
            response.body = self->published_json_;
            exchange->reply(std::move(response));
          });
}

void PubsubService::stream_over_http(const std::shared_ptr<rpc::HttpExchange>& exchange) const {
  absl::Status status = check_open();
  if (status.ok()) {
    auto wanted = stream_request_from_query(exchange->request().query);
    if (wanted.ok()) {
      return fanout_->open(*std::move(wanted), make_sse_sink(exchange), exchange->call());
    }
    status = wanted.status();
  }
  exchange->reply(rpc::error_response(status));
}

}  // namespace virtufin::gateway
