#include "bus/memory/query.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::bus::memory {
namespace {

namespace dom = simdjson::dom;

// Bounds of one query, so that outside text costs what it looks like.
constexpr std::size_t kTextBytesMax = 64 * 1024;
constexpr std::size_t kNodesMax = 256;
constexpr std::size_t kDepthMax = 16;
constexpr std::size_t kValuesMax = 1024;
constexpr std::size_t kSortKeysMax = 8;

Query::Path split(std::string_view path) {
  Query::Path parts;
  for (;;) {
    const std::size_t dot = path.find('.');
    parts.emplace_back(path.substr(0, dot));
    if (dot == path.npos) return parts;
    path.remove_prefix(dot + 1);
  }
}

std::optional<Query::Scalar> scalar(dom::element element) {
  switch (element.type()) {
    case dom::element_type::NULL_VALUE: return nullptr;
    case dom::element_type::BOOL: return bool(element);
    case dom::element_type::INT64: return std::int64_t(element);
    case dom::element_type::UINT64: return std::uint64_t(element);
    case dom::element_type::DOUBLE: return double(element);
    case dom::element_type::STRING: return std::string(std::string_view(element));
    default: return std::nullopt;
  }
}

/// Less, equal, greater as -1, 0, 1 over any two integers and doubles, exactly: a double beyond
/// 2^53 is no reason to call two ids equal.
template <class A, class B>
int compare_numbers(A a, B b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
    return std::cmp_less(a, b) ? -1 : std::cmp_greater(a, b) ? 1 : 0;
  } else {
    const auto x = static_cast<long double>(a), y = static_cast<long double>(b);
    return x < y ? -1 : x > y ? 1 : 0;
  }
}

int rank(const Query::Scalar& value) {
  constexpr int kRanks[] = {0, 1, 2, 2, 2, 3};
  return kRanks[value.index()];
}

int compare(const Query::Scalar& a, const Query::Scalar& b) {
  if (rank(a) != rank(b)) return rank(a) < rank(b) ? -1 : 1;
  return std::visit(
      [](const auto& x, const auto& y) -> int {
        using X = std::decay_t<decltype(x)>;
        using Y = std::decay_t<decltype(y)>;
        if constexpr (std::is_arithmetic_v<X> && std::is_arithmetic_v<Y> &&
                      std::is_same_v<X, bool> == std::is_same_v<Y, bool>) {
          return compare_numbers(
              static_cast<std::conditional_t<std::is_same_v<X, bool>, int, X>>(x),
              static_cast<std::conditional_t<std::is_same_v<Y, bool>, int, Y>>(y));
        } else if constexpr (std::is_same_v<X, std::string> && std::is_same_v<Y, std::string>) {
          return x.compare(y);
        } else {
          return 0;  // two nulls; the ranks keep everything else apart
        }
      },
      a, b);
}

}  // namespace

// --- Reading a query ----------------------------------------------------------------------------

class QueryParser {
 public:
  absl::StatusOr<Query> parse(std::string_view text) {
    if (text.size() > kTextBytesMax) {
      return invalid_argument("the query has {} bytes, at most {} are read", text.size(),
                              kTextBytesMax);
    }
    Query query;
    if (text.empty()) return query;
    dom::element root;
    if (const auto error = parser_.parse(text.data(), text.size()).get(root)) {
      return invalid_argument("the query is not JSON: {}", simdjson::error_message(error));
    }
    dom::object members;
    if (root.get(members)) return invalid_argument("the query must be a JSON object");
    for (const auto [name, value] : members) {
      if (name == "filter") {
        VIRTUFIN_RETURN_IF_ERROR(filter(value, "filter", 0, query.filter_));
      } else if (name == "sort") {
        VIRTUFIN_RETURN_IF_ERROR(sort(value, query));
      } else if (name == "page") {
        VIRTUFIN_RETURN_IF_ERROR(page(value, query));
      } else {
        return invalid_argument("unknown member '{}' of the query: it has filter, sort and page",
                                printable(name));
      }
    }
    query.prefix_ = prefix_of(query.filter_);
    return query;
  }

 private:
  using Node = Query::Node;

  absl::Status filter(dom::element element, const std::string& where, std::size_t depth,
                      Node& node) {
    if (++nodes_ > kNodesMax)
      return invalid_argument("the query has more than {} filters", kNodesMax);
    if (depth > kDepthMax) {
      return invalid_argument("{}: nested deeper than {} filters", where, kDepthMax);
    }
    dom::object members;
    if (element.get(members)) return invalid_argument("{} must be an object", where);
    if (members.size() == 0) return absl::OkStatus();  // everything
    if (members.size() != 1) {
      return invalid_argument("{} must hold one operator, it holds {}: join them with AND", where,
                              members.size());
    }
    const auto member = *members.begin();
    const std::string_view name = member.key;
    const std::string inside = where + "." + printable(name);
    if (name == "AND" || name == "OR") {
      node.kind = name == "AND" ? Node::Kind::kAnd : Node::Kind::kOr;
      return children(member.value, inside, depth, node);
    }
    if (name == "PREFIX") return prefix(member.value, inside, node);
    if (name == "EQ") return eq_or_in(member.value, inside, false, node);
    if (name == "IN") return eq_or_in(member.value, inside, true, node);
    return invalid_argument("unknown operator {}: there are PREFIX, EQ, IN, AND and OR", inside);
  }

  absl::Status children(dom::element element, const std::string& where, std::size_t depth,
                        Node& node) {
    dom::array items;
    if (element.get(items)) return invalid_argument("{} must be a list of filters", where);
    std::size_t index = 0;
    for (const dom::element item : items) {
      node.children.emplace_back();
      VIRTUFIN_RETURN_IF_ERROR(
          filter(item, fmt::format("{}[{}]", where, index++), depth + 1, node.children.back()));
    }
    if (node.children.empty())
      return invalid_argument("{} is empty: give at least one filter", where);
    return absl::OkStatus();
  }

  absl::Status prefix(dom::element element, const std::string& where, Node& node) {
    std::string_view text;
    if (!element.get(text)) {
      node.kind = Node::Kind::kKeyPrefix;
      node.text = text;
      return absl::OkStatus();
    }
    dom::element value;
    VIRTUFIN_RETURN_IF_ERROR(path_and_value(element, where, node.path, value));
    if (value.get(text)) return invalid_argument("{} must be given text", where);
    node.kind = Node::Kind::kPrefix;
    node.text = text;
    return absl::OkStatus();
  }

  absl::Status eq_or_in(dom::element element, const std::string& where, bool in, Node& node) {
    node.kind = Node::Kind::kIn;
    dom::element value;
    VIRTUFIN_RETURN_IF_ERROR(path_and_value(element, where, node.path, value));
    const auto add = [&](dom::element item) {
      auto read = scalar(item);
      if (!read) {
        return invalid_argument("{} compares with text, numbers, true, false and null only", where);
      }
      if (++values_ > kValuesMax) {
        return invalid_argument("the query has more than {} values", kValuesMax);
      }
      node.values.push_back(*std::move(read));
      return absl::OkStatus();
    };
    if (!in) return add(value);
    dom::array items;
    if (value.get(items)) return invalid_argument("{} must be given a list", where);
    for (const dom::element item : items) VIRTUFIN_RETURN_IF_ERROR(add(item));
    return absl::OkStatus();
  }

  absl::Status path_and_value(dom::element element, const std::string& where, Query::Path& path,
                              dom::element& value) {
    dom::object members;
    if (element.get(members) || members.size() != 1) {
      return invalid_argument("{} must be an object with one path", where);
    }
    const auto member = *members.begin();
    if (member.key.empty()) return invalid_argument("{} has an empty path", where);
    path = split(member.key);
    value = member.value;
    return absl::OkStatus();
  }

  absl::Status sort(dom::element element, Query& query) {
    dom::array items;
    if (element.get(items)) return invalid_argument("sort must be a list");
    for (const dom::element item : items) {
      const std::string where = fmt::format("sort[{}]", query.sort_.size());
      if (query.sort_.size() == kSortKeysMax) {
        return invalid_argument("sort has more than {} keys", kSortKeysMax);
      }
      dom::object members;
      if (item.get(members)) return invalid_argument("{} must be an object", where);
      Query::Order order;
      for (const auto [name, value] : members) {
        std::string_view text;
        if (name == "key" && !value.get(text) && !text.empty()) {
          order.path = split(text);
        } else if (name == "order" && !value.get(text) && (text == "ASC" || text == "DESC")) {
          order.descending = text == "DESC";
        } else {
          return invalid_argument("{}.{}: it has a key (a path) and an order (ASC or DESC)", where,
                                  printable(name));
        }
      }
      if (order.path.empty()) return invalid_argument("{} has no key", where);
      query.sort_.push_back(std::move(order));
    }
    return absl::OkStatus();
  }

  absl::Status page(dom::element element, Query& query) {
    dom::object members;
    if (element.get(members)) return invalid_argument("page must be an object");
    for (const auto [name, value] : members) {
      std::uint64_t limit = 0;
      std::string_view token;
      if (name == "limit" && !value.get(limit) && limit > 0) {
        query.limit_ = static_cast<std::size_t>(limit);
      } else if (name == "token" && !value.get(token)) {
        query.token_ = token;
      } else {
        return invalid_argument(
            "page.{}: it has a limit (at least 1) and a token (the last key of the page before)",
            printable(name));
      }
    }
    return absl::OkStatus();
  }

  static std::string prefix_of(const Node& node) {
    if (node.kind == Node::Kind::kKeyPrefix) return node.text;
    std::string longest;
    if (node.kind == Node::Kind::kAnd) {
      for (const Node& child : node.children) {
        std::string prefix = prefix_of(child);
        if (prefix.size() > longest.size()) longest = std::move(prefix);
      }
    }
    return longest;
  }

  dom::parser parser_;
  std::size_t nodes_ = 0, values_ = 0;
};

absl::StatusOr<Query> Query::parse(std::string_view text) { return QueryParser().parse(text); }

// --- Running it ---------------------------------------------------------------------------------

struct QueryRun::Json {
  dom::parser parser;
  const std::string* text = nullptr;
  bool read = false;
  std::optional<dom::element> root;
};

QueryRun::QueryRun(const Query& query) : query_(query), json_(std::make_unique<Json>()) {}
QueryRun::~QueryRun() = default;

bool QueryRun::matches(std::string_view key, const std::string& value) {
  json_->text = &value;
  json_->read = false;
  json_->root.reset();
  return accepts(query_.filter_, key);
}

std::optional<Query::Scalar> QueryRun::at(const Query::Path& path) {
  if (!json_->read) {
    json_->read = true;
    dom::element root;
    if (!json_->parser.parse(*json_->text).get(root)) json_->root = root;
  }
  if (!json_->root) return std::nullopt;
  dom::element element = *json_->root;
  for (const std::string& part : path) {
    dom::array items;
    if (element.get(items) == simdjson::SUCCESS) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
      if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
      if (items.at(index).get(element)) return std::nullopt;
    } else if (element.is_object()) {
      if (element.at_key(part).get(element)) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  return scalar(element);
}

bool QueryRun::accepts(const Query::Node& node, std::string_view key) {
  using Kind = Query::Node::Kind;
  const auto child_accepts = [&](const Query::Node& child) { return accepts(child, key); };
  switch (node.kind) {
    case Kind::kAll: return true;
    case Kind::kKeyPrefix: return key.starts_with(node.text);
    case Kind::kAnd: return std::all_of(node.children.begin(), node.children.end(), child_accepts);
    case Kind::kOr: return std::any_of(node.children.begin(), node.children.end(), child_accepts);
    case Kind::kPrefix: {
      const auto value = at(node.path);
      const auto* const text = value ? std::get_if<std::string>(&*value) : nullptr;
      return text && text->starts_with(node.text);
    }
    case Kind::kIn: {
      const auto value = at(node.path);
      return value && std::any_of(node.values.begin(), node.values.end(),
                                  [&](const auto& wanted) { return compare(*value, wanted) == 0; });
    }
  }
  return false;
}

QueryRun::SortKey QueryRun::sort_key() {
  SortKey key;
  key.reserve(query_.sort_.size());
  for (const auto& order : query_.sort_) key.push_back(at(order.path));
  return key;
}

bool QueryRun::before(const SortKey& a, std::string_view key_a, const SortKey& b,
                      std::string_view key_b) const {
  for (std::size_t i = 0; i < query_.sort_.size(); ++i) {
    int order = 0;
    if (a[i] && b[i]) {
      order = compare(*a[i], *b[i]);
    } else {
      order = static_cast<int>(a[i].has_value()) - static_cast<int>(b[i].has_value());
    }
    if (order != 0) return query_.sort_[i].descending ? order > 0 : order < 0;
  }
  return key_a < key_b;
}

}  // namespace virtufin::bus::memory
