#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/errors.h"

namespace virtufin::rpc {

/// Finds the route of a verb and a path among path templates as google.api.http has them:
/// `/v1/workers/{id}/start`, `/v1/state/{service}/{key=**}`, `/v1/{name=shelves/*}:close`.
///
/// Segment by segment a literal wins over a capture, a capture over `**`; what does not lead to a
/// route of the verb is tried otherwise. A capture is one non-empty segment, `**` one or more of
/// any kind. Captured text is percent-decoded wholly: `%2F` in a key is a slash of the key.
///
/// Threads: match() from any while add() is not called.
class Router {
 public:
  /// INVALID_ARGUMENT for a template that is none, ALREADY_EXISTS for a shape and verb that has a
  /// route: that one stays.
  absl::Status add(std::string_view verb, std::string_view path_template, std::size_t target);

  struct Match {
    std::size_t target;
    /// Field path and decoded text of each capture, in the template's order.
    std::vector<std::pair<std::string_view, std::string>> captures;
  };
  /// NOT_FOUND; UNIMPLEMENTED if the path has other verbs (see verbs_of()); INVALID_ARGUMENT for a
  /// capture with a broken escape.
  absl::StatusOr<Match> match(std::string_view verb, std::string_view path) const;

  /// The verbs that a path has, for `Allow`.
  std::vector<std::string> verbs_of(std::string_view path) const;

 private:
  static constexpr std::size_t kMaxSegments = 32;
  struct Variable {
    std::string field;
    std::size_t first;  ///< segment
    std::size_t last;
    bool open_end;  ///< its last segment is `**`
  };
  struct Route {
    std::string verb;
    std::string suffix;  ///< after the colon, or empty
    std::size_t target;
    std::vector<Variable> variables;
  };
  struct Node {
    StringMap<std::unique_ptr<Node>> literals;
    std::unique_ptr<Node> any;
    std::unique_ptr<Node> rest;
    std::vector<Route> routes;
  };
  struct Parsed;
  struct Search;

  static absl::StatusOr<Parsed> parse(std::string_view path_template);

  Node root_;
  std::vector<std::string> suffixes_;
};

}  // namespace virtufin::rpc
