#pragma once

#include <deque>
#include <memory>
#include <string_view>

#include "core/metrics.h"
#include "rpc/http_connection.h"
#include "rpc/rest_table.h"

namespace virtufin::rpc {

/// Finds what answers an HTTP request, and brings the answer back: custom routes, health, metrics,
/// and the table's methods by transcoding.
///
/// Life: routes are added before the first request; outlives the connections.
/// Threads: dispatch() on the loops, each with a table cache of its own.
class HttpDispatch {
 public:
  HttpDispatch(const MethodTable& methods, const Health& health, Metrics& metrics);

  /// Throws std::invalid_argument for a path template that is none: a mistake in our own source.
  void route(std::string_view verb, std::string_view path_template, HttpHandler handler,
             bool always = false);

  using TableCache = std::shared_ptr<const RestTable>;
  void dispatch(TableCache& cache, const std::shared_ptr<HttpCall>& call);

 private:
  void add_own_routes();
  void call_method(const TableCache& table, const RestTable::Target& target,
                   const Transcoding::Captures& captures, const std::shared_ptr<HttpCall>& call);
  void answer_unrouted(const RestTable& table, const absl::Status& status, HttpCall& call);

  const MethodTable& methods_;
  const Health& health_;
  Metrics& metrics_;
  CallMetrics calls_;
  const std::shared_ptr<MethodStats> unrouted_;
  Router shapes_;  ///< of the custom routes, to refuse bad templates and doubles at once
  std::deque<CustomRoute> custom_;
};

/// `{"status":"Healthy","totalDuration":…,"entries":{…}}`, 503 if not ready.
HttpResponse health_response(const Health& health);

}  // namespace virtufin::rpc
