// Making events: from a template, by the one-pass writer, from a FlatBuffer of somebody else;
// beside what the memory alone costs and what FlatBufferBuilder takes for the same event.
#include <benchmark/benchmark.h>
#include <flatbuffers/flatbuffers.h>
#include <worker_api_generated.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/event_template.h"
#include "core/event_writer.h"

namespace virtufin {
namespace {

namespace fb = Virtufin::Worker::FlatBuffers;

constexpr std::size_t kPayloadBytes = 200;
constexpr TimePoint kTime{std::chrono::nanoseconds(1'769'862'896'123'456'789)};

const std::string& payload() {
  static const std::string kPayload(kPayloadBytes, '7');
  return kPayload;
}

const std::vector<Extension>& shape_extensions() {
  static const std::vector<Extension> kExtensions = {
      {"correlationid", "0b9d3c52-5f0e-4c61-9f42-6c1b2a3d4e5f"},
      {"scenarioid", "LIVE"},
      {"runid", "6f1c2f0e-9a3b-4d56-8a7e-0c1d2e3f4a5b"},
      {"exchange", "binance"},
      {"clocktype", "wall"},
      {"marketlane", "act"},
      {"portfoliolane", "act"},
      {"strategylane", "act"}};
  return kExtensions;
}

EventFields shape() {
  EventFields fields;
  fields.type = "com.virtufin.exchange.binance.orderbook.updated";
  fields.source = "urn:com.virtufin.websocketmanager";
  fields.subject = "currency_pair/BTCUSDT";
  fields.data_content_type = "application/json";
  fields.extensions = shape_extensions();
  return fields;
}

EventPtr sample() {
  return EventTemplate::create(shape())->make(random_uuid(), kTime, kTime, as_bytes(payload()));
}

/// What any event costs: its memory, and its bytes put there once.
void memory_alone(benchmark::State& state) {
  const EventPtr event = sample();
  const std::size_t size = event->bytes().size();
  for (auto _ : state) {
    void* copy = ::operator new(size);
    std::memcpy(copy, event->bytes().data(), size);
    benchmark::DoNotOptimize(copy);
    benchmark::ClobberMemory();
    ::operator delete(copy);
  }
  state.counters["bytes"] = static_cast<double>(size);
}
BENCHMARK(memory_alone)->Name("event_template/floor");

void from_template(benchmark::State& state) {
  const EventTemplate shaped = std::move(*EventTemplate::create(shape()));
  const UuidText id = random_uuid();
  TimePoint time = kTime;
  for (auto _ : state) {
    time += std::chrono::microseconds(731);
    benchmark::DoNotOptimize(shaped.make(id, time, time, as_bytes(payload())));
  }
}
BENCHMARK(from_template)->Name("event_template/value");

void with_builder(benchmark::State& state) {
  const EventPtr event = sample();
  std::vector<Extension> storage;
  const EventFields fields = fields_of(*event, storage);
  const auto text = [](flatbuffers::FlatBufferBuilder& builder, std::string_view value) {
    return builder.CreateString(value.data(), value.size());
  };
  for (auto _ : state) {
    flatbuffers::FlatBufferBuilder builder;
    std::vector<flatbuffers::Offset<fb::Extension>> extensions;
    extensions.reserve(fields.extensions.size());
    for (const Extension& extension : fields.extensions) {
      const auto name = text(builder, extension.name), value = text(builder, extension.value);
      extensions.push_back(fb::CreateExtension(builder, name, value));
    }
    const auto list = builder.CreateVector(extensions);
    const auto data = builder.CreateVector(fields.data->data(), fields.data->size());
    const auto id = text(builder, fields.id), type = text(builder, fields.type),
               source = text(builder, fields.source), version = text(builder, "1.0"),
               content = text(builder, fields.data_content_type),
               subject = text(builder, fields.subject), time = text(builder, fields.time);
    builder.Finish(fb::CreateCloudEvent(builder, id, type, source, version, content, 0, subject,
                                        time, data, list));
    benchmark::DoNotOptimize(builder.Release());
  }
}
BENCHMARK(with_builder)->Name("event_writer/floor");

void with_writer(benchmark::State& state) {
  const EventPtr event = sample();
  std::vector<Extension> storage;
  const EventFields fields = fields_of(*event, storage);
  for (auto _ : state) benchmark::DoNotOptimize(make_event(fields));
}
BENCHMARK(with_writer)->Name("event_writer/value");

/// What must be done with bytes of outside whatever they become.
void verifier_alone(benchmark::State& state) {
  const EventPtr event = sample();
  const auto bytes = event->bytes();
  for (auto _ : state) {
    flatbuffers::Verifier verifier(bytes.data(), bytes.size());
    benchmark::DoNotOptimize(fb::VerifyCloudEventBuffer(verifier));
  }
}
BENCHMARK(verifier_alone)->Name("event_parse/floor");

void parse(benchmark::State& state) {
  const EventPtr event = sample();
  for (auto _ : state) benchmark::DoNotOptimize(parse_event(event->bytes()));
}
BENCHMARK(parse)->Name("event_parse/value");

void write_time(benchmark::State& state) {
  TimePoint time = kTime;
  char text[kTimeWidth];
  for (auto _ : state) {
    time += std::chrono::microseconds(731);
    format_time(time, text);
    benchmark::DoNotOptimize(text);
  }
}
BENCHMARK(write_time)->Name("format_time");

void read_time(benchmark::State& state) {
  std::string text = format_time(kTime);
  for (auto _ : state) {
    benchmark::DoNotOptimize(text.data());
    benchmark::DoNotOptimize(parse_time(text));
  }
}
BENCHMARK(read_time)->Name("parse_time");

void draw_id(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(random_uuid());
}
BENCHMARK(draw_id)->Name("random_uuid");

void hash_id(benchmark::State& state) {
  const UuidHasher hasher({"binance", "depth", "BTCUSDT"});
  std::uint64_t number = 0;
  for (auto _ : state) benchmark::DoNotOptimize(hasher(++number));
}
BENCHMARK(hash_id)->Name("uuid_hasher");

void hash_parts(benchmark::State& state) {
  const EventPtr event = sample();
  for (auto _ : state) benchmark::DoNotOptimize(UuidHasher({event->id(), event->id()})(0));
}
BENCHMARK(hash_parts)->Name("uuid_hasher_parts");

void find_extension(benchmark::State& state) {
  const EventPtr event = sample();
  for (auto _ : state) benchmark::DoNotOptimize(event->extension("strategylane"));
}
BENCHMARK(find_extension)->Name("extension");

}  // namespace
}  // namespace virtufin

BENCHMARK_MAIN();
