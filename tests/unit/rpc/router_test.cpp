#include "rpc/router.h"

#include <catch2/catch.hpp>

#include "rpc/uri.h"

namespace virtufin::rpc {
namespace {

using Captures = std::vector<std::pair<std::string_view, std::string>>;

struct Table {
  explicit Table(std::vector<std::pair<std::string, std::string>> routes) {
    for (std::size_t i = 0; i < routes.size(); ++i) {
      const auto status = router.add(routes[i].first, routes[i].second, i);
      INFO(routes[i].second << ": " << status.message());
      REQUIRE(status.ok());
    }
  }
  /// The index of the route, or minus the code.
  int target(std::string_view verb, std::string_view path) const {
    const auto match = router.match(verb, path);
    return match.ok() ? static_cast<int>(match->target) : -static_cast<int>(match.status().code());
  }
  Captures captures(std::string_view verb, std::string_view path) const {
    const auto match = router.match(verb, path);
    REQUIRE(match.ok());
    return match->captures;
  }
  Router router;
};

TEST_CASE("literals win over captures, captures over the rest") {
  const Table table({{"GET", "/v1/state/{service}/{key=**}"},
                     {"GET", "/v1/state/{service}/query"},
                     {"GET", "/v1/state/{service}/bulk"},
                     {"DELETE", "/v1/state/{service}/{key=**}"},
                     {"DELETE", "/v1/state/{service}/bulk"},
                     {"POST", "/v1/state/save-state"},
                     {"GET", "/v1/triggers/{name}"},
                     {"GET", "/"}});
  CHECK(table.target("GET", "/v1/state/api/k") == 0);
  CHECK(table.target("GET", "/v1/state/api/query") == 1);
  CHECK(table.target("GET", "/v1/state/api/bulk") == 2);
  CHECK(table.target("DELETE", "/v1/state/api/bulk") == 4);
  // A literal that does not lead to a route of the verb does not hide the capture.
  CHECK(table.target("DELETE", "/v1/state/api/query") == 3);
  CHECK(table.captures("DELETE", "/v1/state/api/query") ==
        Captures{{"service", "api"}, {"key", "query"}});
  CHECK(table.captures("GET", "/v1/state/api/query/deeper") ==
        Captures{{"service", "api"}, {"key", "query/deeper"}});
  CHECK(table.captures("GET", "/v1/state/api/a/b//c/") ==
        Captures{{"service", "api"}, {"key", "a/b//c/"}});
  CHECK(table.captures("GET", "/v1/state/api/") == Captures{{"service", "api"}, {"key", ""}});
  CHECK(table.target("GET", "/v1/state/api") == -5);
  CHECK(table.target("GET", "/v1/state//k") == -5);
  CHECK(table.target("POST", "/v1/state/save-state") == 5);
  CHECK(table.target("GET", "/v1/triggers/") == -5);
  CHECK(table.target("GET", "/v1/triggers/a/b") == -5);
  CHECK(table.target("GET", "/") == 7);
  CHECK(table.target("GET", "") == -5);
  CHECK(table.target("GET", "v1/triggers/a") == -5);
  CHECK(table.target("GET", "//") == -5);
}

TEST_CASE("captures are decoded, broken escapes refused") {
  const Table table({{"GET", "/v1/{id}"}, {"GET", "/v2/{key=**}"}});
  CHECK(table.captures("GET", "/v1/a%20b%2Fc") == Captures{{"id", "a b/c"}});
  CHECK(table.captures("GET", "/v2/x%2fy/%E2%82%AC+") == Captures{{"key", "x/y/€+"}});
  CHECK(table.target("GET", "/v1/a%2") == -3);
  CHECK(table.target("GET", "/v1/a%zz") == -3);
}

TEST_CASE("a path with other verbs says which") {
  const Table table({{"POST", "/v1/workers"}, {"GET", "/v1/workers"}, {"PUT", "/v1/x:close"}});
  CHECK(table.target("DELETE", "/v1/workers") == -12);
  CHECK(table.router.verbs_of("/v1/workers") == std::vector<std::string>{"GET", "POST"});
  CHECK(table.router.verbs_of("/v1/x:close") == std::vector<std::string>{"PUT"});
  CHECK(table.router.verbs_of("/v1/other").empty());
}

TEST_CASE("variables over several segments and custom verbs") {
  const Table table({{"GET", "/v1/{name=shelves/*/books/*}"},
                     {"POST", "/v1/{name=shelves/*}:close"},
                     {"POST", "/v1/{id}"},
                     {"GET", "/v1/{a.b}/x/*"}});
  CHECK(table.captures("GET", "/v1/shelves/1/books/2") == Captures{{"name", "shelves/1/books/2"}});
  CHECK(table.captures("POST", "/v1/shelves/1:close") == Captures{{"name", "shelves/1"}});
  CHECK(table.target("POST", "/v1/shelves/1:open") == -5);
  CHECK(table.captures("POST", "/v1/a:close") == Captures{{"id", "a:close"}});
  CHECK(table.captures("GET", "/v1/q/x/y") == Captures{{"a.b", "q"}});
}

TEST_CASE("templates that are none are refused, doubles keep the first") {
  Router router;
  for (const char* bad :
       {"", "v1", "/v1//x", "/v1/{", "/v1/{}", "/v1/{=**}", "/v1/{a=**}/b", "/v1/{a}b", "/v1/a*",
        "/v1/***", "/v1/{a=}", "/v1/x:", "/v1/{a{b}}", "/v1/**/x", "/v1/"}) {
    INFO(bad);
    CHECK(router.add("GET", bad, 0).code() == absl::StatusCode::kInvalidArgument);
  }
  std::string deep;
  for (int i = 0; i < 33; ++i) deep += "/a";
  CHECK(router.add("GET", deep, 0).code() == absl::StatusCode::kInvalidArgument);
  CHECK(router.add("GET", "/v1/{a}", 1).ok());
  CHECK(router.add("GET", "/v1/{b}", 2).code() == absl::StatusCode::kAlreadyExists);
  CHECK(router.match("GET", "/v1/x")->target == 1);
}

TEST_CASE("a long path costs no depth") {
  const Table table({{"GET", "/v1/{key=**}"}, {"GET", "/a/a/a/a/{x}"}});
  std::string path = "/v1";
  for (int i = 0; i < 100'000; ++i) path += "/a";
  CHECK(table.target("GET", path) == 0);
  CHECK(table.target("GET", path.substr(3)) == -5);
}

TEST_CASE("queries are read in order") {
  const auto query = parse_query("a=1&b=x%20y+z&a=2&c&&d==&=e");
  REQUIRE(query.has_value());
  CHECK(*query == std::vector<std::pair<std::string, std::string>>{
                      {"a", "1"}, {"b", "x y z"}, {"a", "2"}, {"c", ""}, {"d", "="}, {"", "e"}});
  CHECK_FALSE(parse_query("a=%").has_value());
  CHECK_FALSE(parse_query("%G0=1").has_value());
  CHECK(parse_query("")->empty());
}

}  // namespace
}  // namespace virtufin::rpc
