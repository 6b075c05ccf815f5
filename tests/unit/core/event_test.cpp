#include "core/event.h"

#include <catch2/catch.hpp>
#include <thread>

#include "core/errors.h"
#include "event_samples.h"

namespace virtufin {
namespace {

namespace fb = Virtufin::Worker::FlatBuffers;
using Catch::Contains;
using test::describe;

EventPtr made(const EventFields& fields) {
  auto event = make_event(fields);
  INFO(message(event.status()));
  REQUIRE(event.ok());
  return *event;
}

std::string refused(const EventFields& fields) {
  const auto event = make_event(fields);
  REQUIRE(!event.ok());
  CHECK(event.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(message(event.status()));
}

std::string refused_extension(const Extension& extension) {
  const std::vector<Extension> extensions = {extension};
  EventFields fields = test::small_fields();
  fields.extensions = extensions;
  return refused(fields);
}

TimePoint at(std::string_view text) { return parse_time(text).value(); }

}  // namespace

TEST_CASE("an event's header is what its attributes say", "[event]") {
  const auto extensions = test::market_extensions();
  const EventPtr event = made(test::market_fields(extensions));
  CHECK(event->id() == "e7a1c0de-0000-8000-8000-000000000001");
  CHECK(event->type() == "com.virtufin.exchange.binance.orderbook.updated");
  CHECK(event->source() == "urn:com.virtufin.websocketmanager");
  CHECK(event->subject() == "currency_pair/BTCUSDT");
  CHECK(event->scenario_id() == "LIVE");
  CHECK(event->clock() == ClockType::kWall);
  CHECK(event->event_time() == at("2026-01-31T12:34:56.123456789Z"));
  CHECK(event->wall_time() == at("2026-01-31T12:34:56.223456789Z"));
  CHECK(event->spec_version() == "1.0");
  CHECK(event->data_content_type() == "application/json");
  CHECK(event->data_schema().empty());
  CHECK(event->time() == "2026-01-31T12:34:56.123456789Z");
  CHECK(event->extension("exchange") == "binance");
  CHECK(event->extension("nothing").empty());
  CHECK(as_text(event->data()).substr(0, 12) == "{\"bids_delta");
}

TEST_CASE("an event is a FlatBuffer that the generated accessors read", "[event]") {
  const auto extensions = test::market_extensions();
  const EventPtr event = made(test::market_fields(extensions));
  REQUIRE(test::verifies(*event));
  const fb::CloudEvent* table = fb::GetCloudEvent(event->bytes().data());
  CHECK(table->id()->str() == event->id());
  CHECK(table->type()->str() == event->type());
  CHECK(table->source()->str() == event->source());
  CHECK(table->specversion()->str() == "1.0");
  CHECK(table->datacontenttype()->str() == "application/json");
  CHECK(table->dataschema() == nullptr);
  CHECK(table->subject()->str() == "currency_pair/BTCUSDT");
  CHECK(table->time()->str() == event->time());
  CHECK(table->data()->size() == event->data().size());
  CHECK(table->data_kind() == 0);
  REQUIRE(table->extensions()->size() == extensions.size());
  CHECK(table->extensions()->Get(0)->name()->str() == "correlationid");
  for (std::size_t i = 1; i < extensions.size(); ++i) {
    CHECK(table->extensions()->Get(i)->name()->str() == extensions[i - 1].name);
    CHECK(table->extensions()->Get(i)->value()->str() == extensions[i - 1].value);
  }
}

TEST_CASE("correlationid moves to the front and the others keep their order", "[event]") {
  for (std::size_t place = 0; place < 4; ++place) {
    std::vector<Extension> extensions = {{"a", "1"}, {"b", "2"}, {"c", "3"}};
    extensions.insert(extensions.begin() + static_cast<std::ptrdiff_t>(place),
                      {"correlationid", "x"});
    EventFields fields = test::small_fields();
    fields.extensions = extensions;
    const EventPtr event = made(fields);
    std::string order;
    for (std::size_t i = 0; i < 4; ++i) order.append(event->extension_at(i).name).append(" ");
    CHECK(order == "correlationid a b c ");
  }
}

TEST_CASE("strings and data of every length end where they should", "[event]") {
  for (std::size_t size = 1; size < 70; ++size) {
    const std::string text(size, 'x');
    const std::vector<Extension> extensions = {{"a", text}, {"b", ""}, {"c", text}};
    EventFields fields = test::small_fields();
    fields.id = fields.subject = text;
    fields.data = as_bytes(text);
    fields.extensions = extensions;
    const EventPtr event = made(fields);
    REQUIRE(test::verifies(*event));
    CHECK(event->id() == text);
    CHECK(event->extension("a") == text);
    CHECK(event->extension("b").empty());
    CHECK(event->extension("c") == text);
    CHECK(as_text(event->data()) == text);
  }
}

TEST_CASE("data may be absent, or present and empty", "[event]") {
  EventFields fields = test::small_fields();
  CHECK_FALSE(made(fields)->has_data());
  fields.data.emplace();
  const EventPtr empty = made(fields);
  CHECK(empty->has_data());
  CHECK(empty->data().empty());
  CHECK(test::verifies(*empty));
}

TEST_CASE("event time is eventtime, else time, else the epoch", "[event]") {
  EventFields fields = test::small_fields();
  CHECK(made(fields)->event_time() == TimePoint{});
  fields.time = "2026-01-31T13:34:56+01:00";
  CHECK(made(fields)->event_time() == at("2026-01-31T12:34:56Z"));
  CHECK(made(fields)->time() == "2026-01-31T13:34:56+01:00");
  const std::vector<Extension> extensions = {{"clocktype", "historical"},
                                             {"eventtime", "2020-02-29T00:00:00Z"}};
  fields.extensions = extensions;
  CHECK(made(fields)->event_time() == at("2020-02-29T00:00:00Z"));
  CHECK(made(fields)->clock() == ClockType::kHistorical);
}

TEST_CASE("the legs are read in all their spellings", "[event]") {
  const auto leg = [](std::vector<Extension> extensions) {
    EventFields fields = test::small_fields();
    fields.extensions = extensions;
    const EventPtr event = made(fields);
    const Leg market = market_leg(*event);
    return std::string(market.lane) + "/" + std::string(market.selector);
  };
  CHECK(leg({}) == "/");
  CHECK(leg({{"marketlane", "act"}}) == "act/");
  CHECK(leg({{"marketlane", "hyp"}, {"marketselector", "2020"}}) == "hyp/2020");
  CHECK(leg({{"market.lane", "hyp"}, {"market.selector", "2020"}}) == "hyp/2020");
  CHECK(leg({{"marketworld", "act"}}) == "act/");
  CHECK(leg({{"marketworld", "hyp.crash"}}) == "hyp/crash");
  CHECK(leg({{"marketworld", "hyp.crash"}, {"marketlane", "act"}}) == "act/");

  const std::vector<Extension> extensions = {{"portfolioworld", "hyp"}, {"strategy.lane", "act"}};
  EventFields fields = test::small_fields();
  fields.extensions = extensions;
  CHECK(portfolio_leg(*made(fields)).lane == "hyp");
  CHECK(strategy_leg(*made(fields)).lane == "act");
}

TEST_CASE("what is no event is refused with the attribute's name", "[event]") {
  const auto without = [](std::string_view EventFields::*attribute) {
    EventFields fields = test::small_fields();
    fields.*attribute = {};
    return refused(fields);
  };
  CHECK_THAT(without(&EventFields::id), Contains("'id'"));
  CHECK_THAT(without(&EventFields::source), Contains("'source'"));
  CHECK_THAT(without(&EventFields::type), Contains("'type'"));
  CHECK_THAT(without(&EventFields::spec_version), Contains("'specversion'"));

  const auto with = [](std::string_view EventFields::*attribute, std::string_view value) {
    EventFields fields = test::small_fields();
    fields.*attribute = value;
    return refused(fields);
  };
  CHECK_THAT(with(&EventFields::spec_version, "0.3"), Contains("'specversion'") && Contains("0.3"));
  CHECK_THAT(with(&EventFields::time, "yesterday"), Contains("'time'") && Contains("yesterday"));
  CHECK_THAT(with(&EventFields::subject, "a\nb"), Contains("'subject'") && Contains("U+000A"));
  CHECK_THAT(with(&EventFields::id, "abcdefgh\x7f"), Contains("'id'") && Contains("U+007F"));
  CHECK_THAT(with(&EventFields::type, "\xc2\x85"), Contains("'type'") && Contains("U+0085"));
  CHECK_THAT(with(&EventFields::source, "\xff\xfe"), Contains("'source'") && Contains("UTF-8"));
  CHECK_THAT(with(&EventFields::data_schema, "a\tb"), Contains("'dataschema'"));
  CHECK_THAT(with(&EventFields::data_content_type, "a\rb"), Contains("'datacontenttype'"));

  EventFields fields = test::small_fields();
  fields.data_kind = static_cast<DataKind>(5);
  CHECK_THAT(refused(fields), Contains("'data'") && Contains("5"));
}

TEST_CASE("what is no extension is refused with its name", "[event]") {
  CHECK_THAT(refused_extension({"Upper", "x"}), Contains("'Upper'"));
  CHECK_THAT(refused_extension({"under_score", "x"}), Contains("'under_score'"));
  CHECK_THAT(refused_extension({"", "x"}), Contains("''"));
  CHECK_THAT(refused_extension({"type", "x"}), Contains("'type'"));
  CHECK_THAT(refused_extension({"data", "x"}), Contains("'data'"));
  CHECK_THAT(refused_extension({"eventtime", "now"}), Contains("'eventtime'") && Contains("now"));
  CHECK_THAT(refused_extension({"walltime", ""}), Contains("'walltime'"));
  CHECK_THAT(refused_extension({"eventtime", ""}), Contains("'eventtime'"));
  CHECK_THAT(refused_extension({"clocktype", "sun"}), Contains("'clocktype'") && Contains("sun"));
  CHECK_THAT(refused_extension({"note", "a\x01"}), Contains("'note'"));
  CHECK_THAT(refused_extension({"flag", "yes", AttributeKind::kBoolean}), Contains("'flag'"));
  for (const char* number : {"1.5", "2147483648", "007", "-0", "+1", "", "1 "}) {
    CHECK_THAT(refused_extension({"count", number, AttributeKind::kInteger}), Contains("'count'"));
  }
  CHECK_THAT(refused_extension({"raw", "*", AttributeKind::kBytes}), Contains("'raw'"));
  CHECK_THAT(refused_extension({"at", "noon", AttributeKind::kTimestamp}), Contains("'at'"));
  CHECK_THAT(refused_extension({"odd", "x", static_cast<AttributeKind>(7)}), Contains("'odd'"));

  // Names whose hash bits meet are compared, those given twice are found wherever they stand.
  const std::vector<Extension> twice = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"b", "4"}};
  EventFields fields = test::small_fields();
  fields.extensions = twice;
  CHECK_THAT(refused(fields), Contains("'b'") && Contains("twice"));
}

TEST_CASE("names: the dotted spellings pass, worker config keys where they are allowed",
          "[event]") {
  const std::vector<Extension> dotted = {{"market.lane", "hyp"},
                                         {"market.selector", "x"},
                                         {"portfolio.lane", "act"},
                                         {"strategy.lane", "act"}};
  EventFields fields = test::small_fields();
  fields.extensions = dotted;
  CHECK(made(fields)->extension_count() == 4);

  const std::vector<Extension> config = {{"api_host", "localhost"}, {"Max Size", "3"}};
  fields.extensions = config;
  CHECK_THAT(refused(fields), Contains("'api_host'"));
  fields.config_names = true;
  CHECK(made(fields)->extension("api_host") == "localhost");

  const std::string longest(kMaxExtensionName, 'a');
  const std::string too_long = longest + "a";
  std::vector<Extension> extensions = {{longest, "x"}};
  fields.extensions = extensions;
  CHECK(made(fields)->extension(longest) == "x");
  extensions = {{too_long, "x"}};
  fields.extensions = extensions;
  CHECK_THAT(refused(fields), Contains("129"));
}

TEST_CASE("an event has bounds", "[event]") {
  std::vector<std::string> names;
  for (std::size_t i = 0; i <= kMaxExtensions; ++i) names.push_back("x" + std::to_string(i));
  std::vector<Extension> extensions;
  for (const std::string& name : names) extensions.push_back({name, "v"});
  EventFields fields = test::small_fields();
  fields.extensions = extensions;
  CHECK_THAT(refused(fields), Contains("1024"));
  fields.extensions = fields.extensions.first(kMaxExtensions);
  CHECK(made(fields)->extension("x1023") == "v");

  const std::vector<std::uint8_t> large(kMaxEventBytes);
  fields = test::small_fields();
  fields.data = large;
  CHECK_THAT(refused(fields), Contains("at most"));
}

TEST_CASE("a changed copy differs in what was changed", "[event]") {
  const auto extensions = test::market_extensions();
  const EventPtr event = made(test::market_fields(extensions));
  std::vector<Extension> storage;
  CHECK(describe(*made(fields_of(*event, storage))) == describe(*event));

  EventFields fields = fields_of(*event, storage);
  storage.push_back({"api_host", "x"});
  fields.extensions = storage;
  const EventPtr stamped = made(fields);
  CHECK(stamped->extension("api_host") == "x");
  CHECK(stamped->extension_count() == event->extension_count() + 1);
  CHECK(stamped->scenario_id() == "LIVE");
}

TEST_CASE("a FlatBuffer from outside becomes the same event", "[event]") {
  flatbuffers::FlatBufferBuilder builder;
  // Leaf to root and with shared strings, as other writers do.
  const auto act = builder.CreateSharedString("act");
  std::vector<flatbuffers::Offset<fb::Extension>> extensions;
  extensions.push_back(fb::CreateExtension(builder, builder.CreateString("marketlane"), act));
  extensions.push_back(fb::CreateExtension(builder, builder.CreateString("strategylane"), act));
  extensions.push_back(fb::CreateExtension(builder, builder.CreateString("correlationid"),
                                           builder.CreateString("c")));
  extensions.push_back(
      fb::CreateExtension(builder, builder.CreateString("count"), builder.CreateString("5"), 2));
  const auto list = builder.CreateVector(extensions);
  const std::vector<std::uint8_t> data = {1, 2, 0, 255};
  const auto payload = builder.CreateVector(data);
  const auto id = builder.CreateString("i"), type = builder.CreateString("t"),
             source = builder.CreateString("s"), version = builder.CreateString("1.0");
  builder.Finish(
      fb::CreateCloudEvent(builder, id, type, source, version, 0, 0, 0, 0, payload, list, 1));
  // At every alignment in memory.
  for (std::size_t shift = 0; shift < 8; ++shift) {
    std::vector<std::uint8_t> bytes(shift);
    bytes.insert(bytes.end(), builder.GetBufferPointer(),
                 builder.GetBufferPointer() + builder.GetSize());
    const auto event = parse_event(std::span(bytes).subspan(shift));
    REQUIRE(event.ok());
    CHECK(describe(**event) ==
          "id = i\ntype = t\nsource = s\nspecversion = 1.0\ndatacontenttype = \ndataschema = \n"
          "subject = \ntime = \nextension correlationid kind 0 = c\n"
          "extension marketlane kind 0 = act\nextension strategylane kind 0 = act\n"
          "extension count kind 2 = 5\ndata = " +
              std::string("\x01\x02\x00\xff", 4) + "\ndata_kind = 1\n");
    CHECK(test::verifies(**event));
  }
}

TEST_CASE("our own bytes parse to equal bytes", "[event]") {
  const auto extensions = test::extensions_of_all_kinds();
  EventFields fields = test::market_fields(extensions);
  fields.data_schema = "https://virtufin.com/schema";
  const EventPtr event = made(fields);
  const auto again = parse_event(event->bytes());
  REQUIRE(again.ok());
  CHECK(as_text((*again)->bytes()) == as_text(event->bytes()));
}

TEST_CASE("bytes that are no event are refused", "[event]") {
  const EventPtr event = made(test::small_fields());
  const auto bytes = event->bytes();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::uint8_t> cut(bytes.begin(), bytes.begin() + size);
    CHECK_FALSE(parse_event(cut).ok());
  }
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::CreateCloudEvent(builder, builder.CreateString("only an id")));
  const auto incomplete = parse_event({builder.GetBufferPointer(), builder.GetSize()});
  CHECK_THAT(std::string(message(incomplete.status())), Contains("'source'"));
}

TEST_CASE("an event is shared between threads and freed once", "[event]") {
  const auto extensions = test::market_extensions();
  const EventPtr event = made(test::market_fields(extensions));
  std::atomic<std::size_t> read{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&read, mine = event] {
      for (int round = 0; round < 1000; ++round) {
        const EventPtr copy = mine;
        read += copy->subject().size();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(read == 4 * 1000 * event->subject().size());
}

}  // namespace virtufin
