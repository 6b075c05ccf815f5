#include "rpc/router.h"

#include <algorithm>
#include <array>

#include "core/log.h"
#include "rpc/uri.h"

namespace virtufin::rpc {

struct Router::Parsed {
  std::vector<std::string> segments;  ///< literal, `*` or `**`
  std::vector<Variable> variables;
  std::string suffix;
};

absl::StatusOr<Router::Parsed> Router::parse(std::string_view path_template) {
  const auto refuse = [&](std::string_view why) {
    return invalid_argument("path template {}: {}", printable(path_template), why);
  };
  Parsed parsed;
  std::string_view left = path_template;
  if (left.empty() || left.front() != '/') return refuse("begins without /");
  // The custom verb follows the last colon outside braces.
  const std::size_t colon = left.rfind(':');
  if (colon != std::string_view::npos &&
      left.find_first_of("/}", colon) == std::string_view::npos) {
    parsed.suffix = left.substr(colon + 1);
    if (parsed.suffix.empty()) return refuse("nothing follows the colon");
    left = left.substr(0, colon);
  }
  if (left == "/") {
    parsed.segments.emplace_back();
    return parsed;
  }

  const auto add_segment = [&](std::string_view segment) {
    parsed.segments.emplace_back(segment);
    return !segment.empty() && segment.find_first_of("{}=") == std::string_view::npos &&
           (segment.find('*') == std::string_view::npos || segment == "*" || segment == "**");
  };
  while (!left.empty()) {
    if (left.front() != '/') return refuse("segments are parted by /");
    left.remove_prefix(1);
    if (left.empty() || left.front() != '{') {
      const std::string_view segment = left.substr(0, left.find('/'));
      if (!add_segment(segment)) return refuse("a segment is neither literal, * nor **");
      left.remove_prefix(segment.size());
      continue;
    }
    const std::size_t end = left.find('}');
    if (end == std::string_view::npos) return refuse("a brace is not closed");
    const std::string_view variable = left.substr(1, end - 1);
    left.remove_prefix(end + 1);
    const std::size_t equals = variable.find('=');
    const std::string_view field = variable.substr(0, equals);
    if (field.empty() || field.find_first_of("{*/") != std::string_view::npos) {
      return refuse("a variable has no field");
    }
    std::string_view pattern =
        equals == std::string_view::npos ? std::string_view("*") : variable.substr(equals + 1);
    const std::size_t first = parsed.segments.size();
    for (;;) {
      const std::string_view segment = pattern.substr(0, pattern.find('/'));
      if (!add_segment(segment)) return refuse("a variable's segment is neither literal, * nor **");
      if (segment.size() == pattern.size()) break;
      pattern.remove_prefix(segment.size() + 1);
    }
    parsed.variables.push_back(
        {std::string(field), first, parsed.segments.size() - 1, parsed.segments.back() == "**"});
  }
  if (parsed.segments.size() > kMaxSegments) return refuse("has more than 32 segments");
  const auto rest = std::find(parsed.segments.begin(), parsed.segments.end(), "**");
  if (rest != parsed.segments.end() && rest + 1 != parsed.segments.end()) {
    return refuse("** is not the last segment");
  }
  return parsed;
}

absl::Status Router::add(std::string_view verb, std::string_view path_template,
                         std::size_t target) {
  auto parsed = parse(path_template);
  if (!parsed.ok()) return parsed.status();
  Node* node = &root_;
  for (const std::string& segment : parsed->segments) {
    std::unique_ptr<Node>& next = segment == "*"    ? node->any
                                  : segment == "**" ? node->rest
                                                    : node->literals[segment];
    if (next == nullptr) next = std::make_unique<Node>();
    node = next.get();
  }
  for (const Route& route : node->routes) {
    if (route.verb == verb && route.suffix == parsed->suffix) {
      return already_exists("{} {} has a route already", verb, path_template);
    }
  }
  if (!parsed->suffix.empty()) suffixes_.push_back(parsed->suffix);
  node->routes.push_back(
      {std::string(verb), std::move(parsed->suffix), target, std::move(parsed->variables)});
  return absl::OkStatus();
}

/// One walk down the tree. Its depth is the templates', whatever the path.
struct Router::Search {
  std::string_view verb;  ///< empty: every verb, collected
  std::string_view suffix;
  std::string_view path;
  std::array<std::size_t, kMaxSegments> starts{};  ///< of the path's segments
  const Route* found = nullptr;
  std::vector<std::string>* verbs = nullptr;

  bool accept(const Node& node) {
    for (const Route& route : node.routes) {
      if (route.suffix != suffix) continue;
      if (verbs != nullptr) {
        verbs->push_back(route.verb);
      } else if (route.verb == verb) {
        found = &route;
        return true;
      }
    }
    return false;
  }

  /// `start`: of the segment to be matched; past the end if there is none left.
  bool walk(const Node& node, std::size_t start, std::size_t depth) {
    if (start > path.size()) return accept(node);
    if (depth >= kMaxSegments) return false;
    starts[depth] = start;
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string_view segment = path.substr(start, end - start);
    if (const auto literal = node.literals.find(segment); literal != node.literals.end()) {
      if (walk(*literal->second, end + 1, depth + 1)) return true;
    }
    if (node.any != nullptr && !segment.empty() && walk(*node.any, end + 1, depth + 1)) return true;
    return node.rest != nullptr && accept(*node.rest);
  }

  std::string_view text(const Variable& variable) const {
    const std::size_t from = starts[variable.first];
    if (variable.open_end) return path.substr(from);
    return path.substr(from, std::min(path.find('/', starts[variable.last]), path.size()) - from);
  }
};

absl::StatusOr<Router::Match> Router::match(std::string_view verb, std::string_view path) const {
  Search search{verb, {}, path};
  bool found = false;
  if (!path.empty() && path.front() == '/') {
    const std::size_t colon = suffixes_.empty() ? std::string_view::npos : path.rfind(':');
    if (colon != std::string_view::npos) {
      search.suffix = path.substr(colon + 1);
      search.path = path.substr(0, colon);
      found = std::find(suffixes_.begin(), suffixes_.end(), search.suffix) != suffixes_.end() &&
              search.walk(root_, 1, 0);
      search.suffix = {};
      if (!found) search.path = path;
    }
    if (!found) found = search.walk(root_, 1, 0);
  }
  if (!found) {
    if (verbs_of(path).empty()) return not_found("no route {} {}", verb, printable(path));
    return unimplemented("{} is not for {}", printable(path), verb);
  }
  Match match{search.found->target, {}};
  match.captures.reserve(search.found->variables.size());
  for (const Variable& variable : search.found->variables) {
    const std::string_view text = search.text(variable);
    auto decoded = percent_decode(text);
    if (!decoded) {
      return invalid_argument("{}: {} has a broken %-escape", variable.field, printable(text));
    }
    match.captures.emplace_back(variable.field, *std::move(decoded));
  }
  return match;
}

std::vector<std::string> Router::verbs_of(std::string_view path) const {
  std::vector<std::string> verbs;
  if (path.empty() || path.front() != '/') return verbs;
  Search search{{}, {}, path};
  search.verbs = &verbs;
  search.walk(root_, 1, 0);
  const std::size_t colon = path.rfind(':');
  if (colon != std::string_view::npos && !suffixes_.empty()) {
    search.suffix = path.substr(colon + 1);
    search.path = path.substr(0, colon);
    if (!search.suffix.empty()) search.walk(root_, 1, 0);
  }
  std::sort(verbs.begin(), verbs.end());
  verbs.erase(std::unique(verbs.begin(), verbs.end()), verbs.end());
  return verbs;
}

}  // namespace virtufin::rpc
