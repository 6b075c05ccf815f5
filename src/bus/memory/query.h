#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace virtufin::bus::memory {

/// A query in the filter language of contract/gateway.md:
///
///     {"filter": <filter>, "sort": [{"key": "<path>", "order": "ASC"|"DESC"}],
///      "page": {"limit": <n>, "token": "<key of the last item before this page>"}}
///
/// where a filter is exactly one of
///
///     {"PREFIX": "<beginning of the key>"}      {"PREFIX": {"<path>": "<beginning of a string>"}}
///     {"EQ": {"<path>": <scalar>}}              {"IN": {"<path>": [<scalar>, …]}}
///     {"AND": [<filter>, …]}                    {"OR": [<filter>, …]}
///
/// and everything is optional. A path names a member of the value, which is JSON, by dots; in an
/// array by its index: `legs.0.symbol`. Numbers are equal as numbers; text is never a number. A
/// value that is not JSON, or has no such member, does not match. Sorted by: missing, null, false,
/// true, numbers, text; equal ones, and everything without `sort`, by key.
///
/// Immutable. Threads: any.
class Query {
 public:
  using Scalar =
      std::variant<std::nullptr_t, bool, double, std::int64_t, std::uint64_t, std::string>;
  using Path = std::vector<std::string>;

  /// INVALID_ARGUMENT that says what was wrong, and where in the query.
  static absl::StatusOr<Query> parse(std::string_view text);

  /// What the key of everything that matches begins with; empty: anything.
  std::string_view prefix() const { return prefix_; }
  bool sorted() const { return !sort_.empty(); }
  std::optional<std::size_t> limit() const { return limit_; }
  const std::string& token() const { return token_; }

 private:
  friend class QueryRun;
  friend class QueryParser;
  struct Node {
    enum class Kind { kAll, kKeyPrefix, kPrefix, kIn, kAnd, kOr };
    Kind kind = Kind::kAll;
    Path path;
    std::vector<Scalar> values;  // of kIn; EQ is an IN of one
    std::string text;            // of the prefixes
    std::vector<Node> children;
  };
  struct Order {
    Path path;
    bool descending = false;
  };

  Node filter_;
  std::vector<Order> sort_;
  std::string prefix_;
  std::optional<std::size_t> limit_;
  std::string token_;
};

/// One execution of a query: what it needs to read values again and again.
///
/// Threads: one.
class QueryRun {
 public:
  explicit QueryRun(const Query& query);
  ~QueryRun();

  bool matches(std::string_view key, const std::string& value);

  /// What to sort by, of the record that matched last. Absent members come first.
  using SortKey = std::vector<std::optional<Query::Scalar>>;
  SortKey sort_key();
  /// Whether `a` comes before `b`.
  bool before(const SortKey& a, std::string_view key_a, const SortKey& b,
              std::string_view key_b) const;

 private:
  struct Json;
  bool accepts(const Query::Node& node, std::string_view key);
  std::optional<Query::Scalar> at(const Query::Path& path);

  const Query& query_;
  std::unique_ptr<Json> json_;
};

}  // namespace virtufin::bus::memory
