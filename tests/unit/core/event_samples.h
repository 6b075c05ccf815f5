#pragma once

#include <flatbuffers/flatbuffers.h>
#include <worker_api_generated.h>

#include <string>
#include <vector>

#include "core/event.h"
#include "core/event_writer.h"

/// Events that the tests of core/event*.h share.
namespace virtufin::test {

/// What a market event carries: all the platform's extensions of a live feed.
inline std::vector<Extension> market_extensions() {
  return {{"scenarioid", "LIVE"},
          {"runid", "6f1c2f0e-9a3b-4d56-8a7e-0c1d2e3f4a5b"},
          {"exchange", "binance"},
          {"clocktype", "wall"},
          {"eventtime", "2026-01-31T12:34:56.123456789Z"},
          {"walltime", "2026-01-31T12:34:56.223456789Z"},
          {"marketlane", "act"},
          {"portfoliolane", "act"},
          {"strategylane", "act"},
          {"correlationid", "0b9d3c52-5f0e-4c61-9f42-6c1b2a3d4e5f"}};
}

inline EventFields market_fields(const std::vector<Extension>& extensions) {
  EventFields fields;
  fields.id = "e7a1c0de-0000-8000-8000-000000000001";
  fields.type = "com.virtufin.exchange.binance.orderbook.updated";
  fields.source = "urn:com.virtufin.websocketmanager";
  fields.subject = "currency_pair/BTCUSDT";
  fields.data_content_type = "application/json";
  fields.time = "2026-01-31T12:34:56.123456789Z";
  fields.data = as_bytes(R"({"bids_delta":[["1.10","2"]],"asks_delta":[],"last_update_id":7})");
  fields.extensions = extensions;
  return fields;
}

/// The least that an event may be.
inline EventFields small_fields() {
  EventFields fields;
  fields.id = "1";
  fields.type = "t";
  fields.source = "s";
  return fields;
}

/// One extension of every kind, and every optional attribute.
inline std::vector<Extension> extensions_of_all_kinds() {
  return {{"text", "grün \"quoted\" back\\slash", AttributeKind::kString},
          {"flag", "true", AttributeKind::kBoolean},
          {"off", "false", AttributeKind::kBoolean},
          {"low", "-2147483648", AttributeKind::kInteger},
          {"high", "2147483647", AttributeKind::kInteger},
          {"raw", "AAH/gA==", AttributeKind::kBytes},
          {"link", "https://virtufin.com/a?b=c%20d", AttributeKind::kUri},
          {"ref", "/relative/path#x", AttributeKind::kUriReference},
          {"at", "2026-01-31T12:34:56.000000001Z", AttributeKind::kTimestamp},
          {"empty", "", AttributeKind::kString}};
}

inline bool verifies(const Event& event) {
  flatbuffers::Verifier verifier(event.bytes().data(), event.bytes().size());
  return Virtufin::Worker::FlatBuffers::VerifyCloudEventBuffer(verifier);
}

/// All that an event says, one line an item: two events are equal exactly if these are.
inline std::string describe(const Event& event) {
  std::string out;
  const auto line = [&](std::string_view name, std::string_view value) {
    out.append(name).append(" = ").append(value).append("\n");
  };
  line("id", event.id());
  line("type", event.type());
  line("source", event.source());
  line("specversion", event.spec_version());
  line("datacontenttype", event.data_content_type());
  line("dataschema", event.data_schema());
  line("subject", event.subject());
  line("time", event.time());
  for (std::size_t i = 0; i < event.extension_count(); ++i) {
    const Extension extension = event.extension_at(i);
    out.append("extension ").append(extension.name).append(" kind ");
    out.append(std::to_string(static_cast<int>(extension.kind))).append(" = ");
    out.append(extension.value).append("\n");
  }
  line("data", event.has_data() ? as_text(event.data()) : "(absent)");
  line("data_kind", std::to_string(static_cast<int>(event.data_kind())));
  return out;
}

}  // namespace virtufin::test
