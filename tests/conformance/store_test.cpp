#include <catch2/catch.hpp>
#include <future>
#include <set>

#include "conformance/support.h"
#include "conformance/under_test.h"

/// Records, conditions, transactions, ttl, queries, restart.
using namespace virtufin;
using namespace virtufin::testing;
using bus::Erase;
using bus::IfAbsent;
using bus::IfEtag;
using bus::Item;
using bus::Save;
using std::chrono::seconds;

namespace {

std::unique_ptr<StoreUnderTest> under_test() {
  const std::size_t kind = GENERATE(range<std::size_t>(0, stores().size()));
  INFO(stores()[kind].name);
  return stores()[kind].make();
}

template <class T>
absl::StatusOr<T> wait(const std::function<void(bus::Done<T>)>& start) {
  std::promise<absl::StatusOr<T>> promise;
  auto future = promise.get_future();
  start([&](absl::StatusOr<T> result) { promise.set_value(std::move(result)); });
  REQUIRE(future.wait_for(kDeadline) == std::future_status::ready);
  return future.get();
}

absl::StatusOr<std::string> save(StoreUnderTest& fixture, Save write) {
  return wait<std::string>(
      [&](auto done) { fixture.store().save(std::move(write), std::move(done)); });
}
absl::Status save(StoreUnderTest& fixture, std::string key, std::string value) {
  return save(fixture, Save{std::move(key), std::move(value), {}, {}}).status();
}
absl::Status erase(StoreUnderTest& fixture, Erase write) {
  return wait<std::monostate>(
             [&](auto done) { fixture.store().erase(std::move(write), std::move(done)); })
      .status();
}
Item get(StoreUnderTest& fixture, const std::string& key) {
  auto item = wait<Item>([&](auto done) { fixture.store().get(key, std::move(done)); });
  REQUIRE(item.ok());
  CHECK(item->key == key);
  return *item;
}
absl::Status transact(StoreUnderTest& fixture, std::vector<std::variant<Save, Erase>> writes) {
  return wait<std::monostate>(
             [&](auto done) { fixture.store().transact(std::move(writes), std::move(done)); })
      .status();
}
absl::StatusOr<std::vector<Item>> query(StoreUnderTest& fixture, const std::string& text,
                                        std::size_t limit = 0) {
  return wait<std::vector<Item>>(
      [&](auto done) { fixture.store().query(text, limit, std::move(done)); });
}
std::vector<std::string> keys(const absl::StatusOr<std::vector<Item>>& items) {
  INFO(message(items.status()));
  REQUIRE(items.ok());
  std::vector<std::string> found;
  for (const Item& item : *items) found.push_back(item.key);
  return found;
}

}  // namespace

TEST_CASE("what was saved is read, whatever its bytes") {
  const auto fixture = under_test();
  const std::string binary("\0\xff\n{\"", 5);
  REQUIRE(save(*fixture, "a.b", binary).ok());
  REQUIRE(save(*fixture, "empty", "").ok());
  CHECK(get(*fixture, "a.b").value == binary);
  CHECK(get(*fixture, "empty").value.empty());
  CHECK_FALSE(get(*fixture, "empty").etag.empty());
  const Item missing = get(*fixture, "no.such");
  CHECK(missing.value.empty());
  CHECK(missing.etag.empty());
}

TEST_CASE("a key must be one") {
  const auto fixture = under_test();
  CHECK(save(*fixture, "", "v").code() == absl::StatusCode::kInvalidArgument);
  CHECK(save(*fixture, "a||b", "v").code() == absl::StatusCode::kInvalidArgument);
  CHECK(erase(*fixture, {"", {}}).code() == absl::StatusCode::kInvalidArgument);
  CHECK(transact(*fixture, {Save{"ok", "v", {}, {}}, Erase{"", {}}}).code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(get(*fixture, "ok").etag.empty());
}

TEST_CASE("several keys are read at once, in the order asked") {
  const auto fixture = under_test();
  REQUIRE(save(*fixture, "k1", "v1").ok());
  REQUIRE(save(*fixture, "k2", "v2").ok());
  const auto items = wait<std::vector<Item>>([&](auto done) {
    fixture->store().get(std::vector<std::string>{"k2", "none", "k1", "k2"}, std::move(done));
  });
  REQUIRE(items.ok());
  REQUIRE(items->size() == 4);
  CHECK((*items)[0].value == "v2");
  CHECK((*items)[1].key == "none");
  CHECK((*items)[1].etag.empty());
  CHECK((*items)[2].value == "v1");
  CHECK((*items)[3].etag == (*items)[0].etag);
}

TEST_CASE("every write gives a new etag") {
  const auto fixture = under_test();
  std::set<std::string> etags;
  for (int i = 0; i < 20; ++i) {
    const auto told = save(*fixture, Save{"k", "same", {}, {}});
    REQUIRE(told.ok());
    const std::string etag = get(*fixture, "k").etag;
    if (fixture->tells_etag) CHECK(*told == etag);
    CHECK(etags.insert(etag).second);
  }
}

TEST_CASE("a write with an etag happens only over that version") {
  const auto fixture = under_test();
  REQUIRE(save(*fixture, "k", "1").ok());
  const std::string first = get(*fixture, "k").etag;
  REQUIRE(save(*fixture, Save{"k", "2", IfEtag{first}, {}}).ok());
  CHECK(save(*fixture, Save{"k", "3", IfEtag{first}, {}}).status().code() ==
        absl::StatusCode::kAborted);
  CHECK(erase(*fixture, {"k", IfEtag{first}}).code() == absl::StatusCode::kAborted);
  CHECK(get(*fixture, "k").value == "2");
  REQUIRE(erase(*fixture, {"k", IfEtag{get(*fixture, "k").etag}}).ok());
  CHECK(get(*fixture, "k").etag.empty());
  CHECK(save(*fixture, Save{"k", "4", IfEtag{first}, {}}).status().code() ==
        absl::StatusCode::kAborted);
  CHECK(erase(*fixture, {"k", IfEtag{first}}).code() == absl::StatusCode::kAborted);
  CHECK(get(*fixture, "k").etag.empty());
}

TEST_CASE("a write that wants an absent key happens once") {
  const auto fixture = under_test();
  REQUIRE(save(*fixture, Save{"k", "1", IfAbsent{}, {}}).ok());
  CHECK(save(*fixture, Save{"k", "2", IfAbsent{}, {}}).status().code() ==
        absl::StatusCode::kAborted);
  CHECK(get(*fixture, "k").value == "1");
  REQUIRE(erase(*fixture, {"k", {}}).ok());
  CHECK(save(*fixture, Save{"k", "3", IfAbsent{}, {}}).ok());
  CHECK(get(*fixture, "k").value == "3");
}

TEST_CASE("of many writers over one version, one wins") {
  const auto fixture = under_test();
  REQUIRE(save(*fixture, "k", "0").ok());
  const std::string etag = get(*fixture, "k").etag;
  std::atomic<int> won = 0, lost = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      for (int j = 0; j < 10; ++j) {
        fixture->store().save(Save{"k", "mine", IfEtag{etag}, {}}, [&](const auto& result) {
          if (result.ok()) ++won;
          if (result.status().code() == absl::StatusCode::kAborted) ++lost;
        });
      }
    });
  }
  for (auto& writer : writers) writer.join();
  REQUIRE(eventually([&] { return won + lost == 40; }));
  CHECK(won == 1);
}

TEST_CASE("a condition is checked against what is still being written") {
  const auto fixture = under_test();
  std::atomic<int> done = 0;
  std::vector<absl::Status> statuses(3);
  fixture->store().save(Save{"k", "1", IfAbsent{}, {}}, [&](const auto& r) {
    statuses[0] = r.status();
    ++done;
  });
  fixture->store().save(Save{"k", "2", IfAbsent{}, {}}, [&](const auto& r) {
    statuses[1] = r.status();
    ++done;
  });
  fixture->store().erase(Erase{"k", {}}, [&](const auto& r) {
    statuses[2] = r.status();
    ++done;
  });
  REQUIRE(eventually([&] { return done == 3; }));
  CHECK(statuses[0].ok());
  CHECK(statuses[1].code() == absl::StatusCode::kAborted);
  CHECK(statuses[2].ok());
  CHECK(get(*fixture, "k").etag.empty());
}

TEST_CASE("erasing what is not there is fine") {
  const auto fixture = under_test();
  CHECK(erase(*fixture, {"never", {}}).ok());
  CHECK(erase(*fixture, {"never", IfAbsent{}}).ok());
}

TEST_CASE("a transaction happens whole or not at all") {
  const auto fixture = under_test();
  REQUIRE(save(*fixture, "a", "1").ok());
  REQUIRE(save(*fixture, "b", "1").ok());
  const Item a = get(*fixture, "a");
  REQUIRE(transact(*fixture, {Save{"a", "2", IfEtag{a.etag}, {}}, Erase{"b", {}},
                              Save{"c", "1", IfAbsent{}, {}}})
              .ok());
  CHECK(get(*fixture, "a").value == "2");
  CHECK(get(*fixture, "b").etag.empty());
  const Item c = get(*fixture, "c");
  CHECK(c.value == "1");

  CHECK(transact(*fixture, {Save{"a", "3", {}, {}}, Save{"d", "1", {}, {}}, Erase{"c", {}},
                            Save{"a", "4", IfEtag{a.etag}, {}}})
            .code() == absl::StatusCode::kAborted);
  CHECK(get(*fixture, "a").value == "2");
  CHECK(get(*fixture, "c").etag == c.etag);
  CHECK(get(*fixture, "d").etag.empty());
  CHECK(transact(*fixture, {}).ok());
}

TEST_CASE("a key may be written twice in a transaction, in order") {
  const auto fixture = under_test();
  REQUIRE(
      transact(*fixture, {Save{"k", "1", IfAbsent{}, {}}, Erase{"k", {}},
                          Save{"k", "2", IfAbsent{}, {}}, Save{"l", "1", {}, {}}, Erase{"l", {}}})
          .ok());
  CHECK(get(*fixture, "k").value == "2");
  CHECK(get(*fixture, "l").etag.empty());
  fixture->reopen();
  if (fixture->durable) CHECK(get(*fixture, "k").value == "2");
  CHECK(get(*fixture, "l").etag.empty());
}

TEST_CASE("a record with a ttl is gone when its time is over, unless it is written again") {
  const auto fixture = under_test();
  const seconds ttl = fixture->ttl;
  REQUIRE(save(*fixture, Save{"short", "v", {}, ttl}).ok());
  REQUIRE(save(*fixture, Save{"renewed", "v", {}, ttl}).ok());
  REQUIRE(save(*fixture, Save{"kept", "v", {}, ttl}).ok());
  fixture->pass(ttl / 2);
  CHECK(get(*fixture, "short").value == "v");
  REQUIRE(save(*fixture, Save{"renewed", "w", {}, ttl}).ok());
  REQUIRE(save(*fixture, "kept", "w").ok());
  fixture->pass(ttl - ttl / 2 + seconds(1));
  CHECK(get(*fixture, "short").etag.empty());
  CHECK(get(*fixture, "renewed").value == "w");
  CHECK(save(*fixture, Save{"short", "again", IfAbsent{}, {}}).ok());
  fixture->pass(ttl + seconds(1));
  CHECK(get(*fixture, "renewed").etag.empty());
  CHECK(get(*fixture, "kept").value == "w");
  CHECK(get(*fixture, "short").value == "again");
  CHECK(save(*fixture, Save{"bad", "v", {}, seconds(0)}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a restart keeps what was acknowledged, and no etag comes twice") {
  const auto fixture = under_test();
  std::set<std::string> etags;
  REQUIRE(save(*fixture, "a", "1").ok());
  REQUIRE(save(*fixture, "b", std::string("\0b", 2)).ok());
  REQUIRE(save(*fixture, Save{"t", "1", {}, fixture->ttl}).ok());
  REQUIRE(save(*fixture, Save{"u", "1", {}, seconds(1000)}).ok());
  const std::string a = get(*fixture, "a").etag;
  etags.insert(a);
  REQUIRE(save(*fixture, "gone", "1").ok());
  etags.insert(get(*fixture, "gone").etag);
  REQUIRE(erase(*fixture, {"gone", {}}).ok());
  fixture->pass(fixture->ttl + seconds(1));
  fixture->reopen();
  if (fixture->durable) {
    CHECK(get(*fixture, "a").value == "1");
    CHECK(get(*fixture, "a").etag == a);
    CHECK(get(*fixture, "b").value == std::string("\0b", 2));
    CHECK(get(*fixture, "u").value == "1");
    CHECK(save(*fixture, Save{"a", "2", IfEtag{a}, {}}).ok());
  }
  CHECK(get(*fixture, "t").etag.empty());
  CHECK(get(*fixture, "gone").etag.empty());
  for (int i = 0; i < 10; ++i) {
    REQUIRE(save(*fixture, "gone", "2").ok());
    const bool is_new = etags.insert(get(*fixture, "gone").etag).second;
    if (!fixture->etags_repeat) CHECK(is_new);
  }
}

TEST_CASE("queries find records by key and by what is in them") {
  const auto fixture = under_test();
  if (!fixture->queries) {
    CHECK(query(*fixture, "{}").status().code() == absl::StatusCode::kUnimplemented);
    return;
  }
  REQUIRE(save(*fixture, "o.1", R"({"status":"open","qty":2,"legs":[{"s":"BTC"}]})").ok());
  REQUIRE(save(*fixture, "o.2", R"({"status":"done","qty":10,"legs":[{"s":"ETH"}]})").ok());
  REQUIRE(save(*fixture, "o.3", R"({"status":"open","qty":2.5,"price":"1.0"})").ok());
  REQUIRE(save(*fixture, "p.1", R"({"status":"open","qty":9007199254740993})").ok());
  REQUIRE(save(*fixture, "p.2", R"({"status":null,"flag":true})").ok());
  REQUIRE(save(*fixture, "raw", "not json").ok());

  const auto found = [&](const std::string& text) { return keys(query(*fixture, text)); };
  using Keys = std::vector<std::string>;
  CHECK(found("{}") == Keys{"o.1", "o.2", "o.3", "p.1", "p.2", "raw"});
  CHECK(found(R"({"filter":{"PREFIX":"o."}})") == Keys{"o.1", "o.2", "o.3"});
  CHECK(found(R"({"filter":{"EQ":{"status":"open"}}})") == Keys{"o.1", "o.3", "p.1"});
  CHECK(found(R"({"filter":{"EQ":{"legs.0.s":"ETH"}}})") == Keys{"o.2"});
  CHECK(found(R"({"filter":{"EQ":{"qty":2.0}}})") == Keys{"o.1"});
  CHECK(found(R"({"filter":{"EQ":{"qty":"2"}}})").empty());
  CHECK(found(R"({"filter":{"EQ":{"price":1}}})").empty());
  CHECK(found(R"({"filter":{"EQ":{"qty":9007199254740992}}})").empty());
  CHECK(found(R"({"filter":{"EQ":{"status":null}}})") == Keys{"p.2"});
  CHECK(found(R"({"filter":{"EQ":{"flag":true}}})") == Keys{"p.2"});
  CHECK(found(R"({"filter":{"IN":{"qty":[10,2.5,"x"]}}})") == Keys{"o.2", "o.3"});
  CHECK(found(R"({"filter":{"IN":{"qty":[]}}})").empty());
  CHECK(found(R"({"filter":{"PREFIX":{"status":"o"}}})") == Keys{"o.1", "o.3", "p.1"});
  CHECK(found(R"({"filter":{"AND":[{"PREFIX":"o."},{"EQ":{"status":"open"}}]}})") ==
        Keys{"o.1", "o.3"});
  CHECK(found(R"({"filter":{"OR":[{"PREFIX":"p."},{"EQ":{"status":"done"}}]}})") ==
        Keys{"o.2", "p.1", "p.2"});
  CHECK(found(R"({"filter":{"PREFIX":"o."},"sort":[{"key":"qty","order":"DESC"}]})") ==
        Keys{"o.2", "o.3", "o.1"});
  CHECK(found(R"({"filter":{"PREFIX":"o."},"sort":[{"key":"status"},{"key":"qty"}]})") ==
        Keys{"o.2", "o.1", "o.3"});
  CHECK(found(R"({"sort":[{"key":"price"}],"filter":{"PREFIX":"o."}})") ==
        Keys{"o.1", "o.2", "o.3"});

  CHECK(keys(query(*fixture, "{}", 2)) == Keys{"o.1", "o.2"});
  CHECK(found(R"({"page":{"limit":2}})") == Keys{"o.1", "o.2"});
  CHECK(found(R"({"page":{"limit":2,"token":"o.2"}})") == Keys{"o.3", "p.1"});
  CHECK(found(R"({"page":{"token":"raw"}})").empty());
  CHECK(found(R"({"filter":{"PREFIX":"o."},"sort":[{"key":"qty"}],"page":{"limit":1}})") ==
        Keys{"o.1"});
  CHECK(
      found(
          R"({"filter":{"PREFIX":"o."},"sort":[{"key":"qty"}],"page":{"limit":2,"token":"o.1"}})") ==
      Keys{"o.3", "o.2"});
}

TEST_CASE("a query that cannot be understood says where") {
  const auto fixture = under_test();
  if (!fixture->queries) return;
  const auto refused = [&](const std::string& text, const std::string& word) {
    INFO(text);
    const auto status = query(*fixture, text).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(message(status)), Catch::Contains(word));
  };
  refused("{", "not JSON");
  refused("[]", "object");
  refused(R"({"fliter":{}})", "fliter");
  refused(R"({"filter":{"LIKE":{"a":"b"}}})", "filter.LIKE");
  refused(R"({"filter":{"EQ":{"a":1},"IN":{"b":[1]}}})", "one operator");
  refused(R"({"filter":{"EQ":{"a":{}}}})", "filter.EQ");
  refused(R"({"filter":{"EQ":{"a":1,"b":2}}})", "filter.EQ");
  refused(R"({"filter":{"IN":{"a":1}}})", "list");
  refused(R"({"filter":{"AND":[]}})", "empty");
  refused(R"({"filter":{"OR":[{"EQ":{"a":1}},{"XOR":[]}]}})", "filter.OR[1].XOR");
  refused(R"({"sort":[{"order":"ASC"}]})", "key");
  refused(R"({"sort":[{"key":"a","order":"UP"}]})", "order");
  refused(R"({"page":{"limit":0}})", "limit");
  refused(R"({"page":{"size":1}})", "size");
  std::string deep = R"({"EQ":{"a":1}})";
  for (int i = 0; i < 20; ++i) deep = R"({"AND":[)" + deep + "]}";
  refused(R"({"filter":)" + deep + "}", "nested");
}

TEST_CASE("a query walks past more records than it looks at in one go") {
  const auto fixture = under_test();
  if (!fixture->queries) return;
  std::vector<std::variant<Save, Erase>> writes;
  for (int i = 0; i < 1500; ++i) {
    writes.push_back(Save{fmt::format("k.{:04}", i), fmt::format(R"({{"n":{}}})", i % 2), {}, {}});
  }
  REQUIRE(transact(*fixture, std::move(writes)).ok());
  std::size_t found = 0;
  std::string token;
  for (int page = 0; page < 10; ++page) {
    const auto items = query(
        *fixture, R"({"filter":{"EQ":{"n":1}},"page":{"limit":100,"token":")" + token + R"("}})");
    REQUIRE(items.ok());
    found += items->size();
    if (items->empty()) break;
    token = items->back().key;
  }
  CHECK(found == 750);
  CHECK(token == "k.1499");
}
