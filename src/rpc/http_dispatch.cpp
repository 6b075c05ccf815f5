#include "rpc/http_dispatch.h"

#include <stdexcept>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/log.h"
#include "rpc/admission.h"
#include "rpc/http_exchange.h"
#include "rpc/uri.h"

namespace virtufin::rpc {
namespace {

constexpr std::string_view kEventStream = "text/event-stream";

/// A unary call under way. One that dies unanswered is answered with INTERNAL.
struct PendingCall {
  PendingCall(HttpDispatch::TableCache rest_table, const Transcoding& binding,
              std::shared_ptr<HttpCall> http_call,
              std::unique_ptr<google::protobuf::Message> message)
      : table(std::move(rest_table)),
        transcoding(binding),
        call(std::move(http_call)),
        request(std::move(message)) {}
  ~PendingCall() {
    if (call == nullptr) return;
    call->answer(internal_error("{} ended without an answer", transcoding.method().full_name()));
  }
  void answer(const absl::StatusOr<std::unique_ptr<google::protobuf::Message>>& reply) {
    const auto answered = std::move(call);
    if (answered == nullptr) return;
    if (!reply.ok()) return answered->answer(reply.status());
    HttpResponse response;
    if (const auto status = transcoding.reply(**reply, response.body); !status.ok()) {
      return answered->answer(status);
    }
    answered->answer(std::move(response), absl::StatusCode::kOk);
  }

  const HttpDispatch::TableCache table;  ///< owns the transcoding
  const Transcoding& transcoding;
  std::shared_ptr<HttpCall> call;
  const std::unique_ptr<google::protobuf::Message> request;
};

}  // namespace

HttpDispatch::HttpDispatch(const MethodTable& methods, const Health& health, Metrics& metrics)
    : methods_(methods),
      health_(health),
      metrics_(metrics),
      calls_(metrics, "http"),
      unrouted_(calls_.of("unknown")) {
  add_own_routes();
}

void HttpDispatch::route(std::string_view verb, std::string_view path_template, HttpHandler handler,
                         bool always) {
  if (const auto status = shapes_.add(verb, path_template, custom_.size()); !status.ok()) {
    throw std::invalid_argument(std::string(message(status)));
  }
  CustomRoute& route = custom_.emplace_back();
  route.verb = verb;
  route.path_template = path_template;
  route.handler = std::move(handler);
  route.always = always;
  route.stats = calls_.of(fmt::format("{} {}", verb, path_template));
}

void HttpDispatch::add_own_routes() {
  for (const char* path : {"/health", "/readyz"}) {
    route(
        "GET", path,
        [this](const std::shared_ptr<HttpExchange>& exchange) {
          exchange->reply(health_response(health_));
        },
        true);
  }
  for (const char* path : {"/healthz", "/livez", "/health/live"}) {
    route(
        "GET", path,
        [](const std::shared_ptr<HttpExchange>& exchange) {
          HttpResponse response;
          response.body = R"({"status":"Healthy","totalDuration":"00:00:00.0000000","entries":{}})";
          exchange->reply(std::move(response));
        },
        true);
  }
  route(
      "GET", "/metrics",
      [this](const std::shared_ptr<HttpExchange>& exchange) {
        HttpResponse response;
        response.content_type = "text/plain; version=0.0.4; charset=utf-8";
        response.body = metrics_.prometheus_text();
        exchange->reply(std::move(response));
      },
      true);
}

void HttpDispatch::dispatch(TableCache& cache, const std::shared_ptr<HttpCall>& call) {
  if (cache == nullptr || cache->version() != methods_.version()) {
    cache = std::make_shared<const RestTable>(methods_, custom_, calls_);
  }
  const TableCache table = cache;
  const std::string_view verb = call->verb() == "HEAD" ? "GET" : call->verb();
  auto match = table->router().match(verb, call->path());
  if (!match.ok()) return answer_unrouted(*table, match.status(), *call);
  const RestTable::Target& target = table->target(match->target);
  call->measure(target.stats);
  if (target.custom == nullptr || !target.custom->always) {
    if (const auto status = admit(health_); !status.ok()) return call->answer(status);
  }
  if (target.custom == nullptr) return call_method(table, target, match->captures, call);

  if (!parse_query(call->query())) {
    return call->answer(
        invalid_argument("query: a broken %-escape in {}", printable(call->query())));
  }
  std::vector<std::pair<std::string, std::string>> captures;
  for (auto& [field, text] : match->captures) captures.emplace_back(field, std::move(text));
  call->set_captures(std::move(captures));
  target.custom->handler(std::make_shared<OpenExchange>(call));
}

void HttpDispatch::answer_unrouted(const RestTable& table, const absl::Status& status,
                                   HttpCall& call) {
  call.measure(unrouted_);
  HttpResponse response = error_response(status);
  if (status.code() == absl::StatusCode::kUnimplemented) {
    std::string verbs;
    for (const std::string& verb : table.router().verbs_of(call.path())) {
      if (!verbs.empty()) verbs += ", ";
      verbs += verb;
    }
    response = error_response(unimplemented("{}; it has {}", message(status), verbs));
    response.status = 405;
    response.headers.emplace_back("Allow", verbs);
  }
  call.answer(std::move(response), status.code());
}

void HttpDispatch::call_method(const TableCache& table, const RestTable::Target& target,
                               const Transcoding::Captures& captures,
                               const std::shared_ptr<HttpCall>& call) {
  const Transcoding& transcoding = *target.method;
  auto request = transcoding.request(captures, call->query(), call->body());
  if (!request.ok()) return call->answer(request.status());
  const Method& method = transcoding.method();
  if (method.descriptor()->server_streaming()) {
    call->no_deadline();
    const bool events = call->metadata("accept").find(kEventStream) != std::string_view::npos;
    return method.call(call, make_bytes(**request),
                       std::make_shared<HttpReplies>(table, transcoding, call, events));
  }
  auto pending = std::make_unique<PendingCall>(table, transcoding, call, *std::move(request));
  const google::protobuf::Message& message = *pending->request;
  method.call(call, message,
              [pending = std::move(pending)](
                  absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
                pending->answer(reply);
              });
}

HttpResponse health_response(const Health& health) {
  const auto began = std::chrono::steady_clock::now();
  const std::vector<HealthEntry> entries = health.entries();
  bool ready = health.serving();
  std::string list;
  const auto add = [&](std::string_view name, const absl::Status& status) {
    if (!list.empty()) list += ',';
    append_json_string(list, name);
    list += status.ok() ? ":{\"status\":\"Healthy\"" : ":{\"status\":\"Unhealthy\"";
    if (!status.ok()) {
      list += ",\"description\":";
      append_json_string(list, message(status));
    }
    list += '}';
  };
  if (!ready) add("process", unavailable("starting or stopping"));
  for (const HealthEntry& entry : entries) {
    ready = ready && entry.status.ok();
    add(entry.name, entry.status);
  }
  const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::steady_clock::now() - began);
  HttpResponse response;
  response.status = ready ? 200 : 503;
  // hh:mm:ss.fffffff, in ticks of 100 ns.
  const auto ticks = took.count() / 100;
  response.body = fmt::format(
      "{{\"status\":\"{}\",\"totalDuration\":\"{:02}:{:02}:{:02}.{:07}\",\"entries\":{{{}}}}}",
      ready ? "Healthy" : "Unhealthy", ticks / 36'000'000'000, ticks / 600'000'000 % 60,
      ticks / 10'000'000 % 60, ticks % 10'000'000, list);
  return response;
}

}  // namespace virtufin::rpc
