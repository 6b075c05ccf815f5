#include "modules/workmanager/engines/native/response.h"

#include <worker_api_generated.h>

#include <vector>

#include "core/errors.h"
#include "core/log.h"
#include "modules/workmanager/extension_list.h"

namespace virtufin::workmanager::native {
namespace {

namespace fb = Virtufin::Worker::FlatBuffers;

std::string_view text(const flatbuffers::String* value) {
  return value != nullptr ? value->string_view() : std::string_view{};
}

/// Null if the bytes are not a sound response.
const fb::WorkerResponse* verified(std::span<const std::uint8_t> bytes) {
  flatbuffers::Verifier verifier(bytes.data(), bytes.size());
  return verifier.VerifyBuffer<fb::WorkerResponse>(nullptr)
             ? flatbuffers::GetRoot<fb::WorkerResponse>(bytes.data())
             : nullptr;
}

/// A FlatBuffer's scalars are aligned within the buffer; a worker may hand one out at any address.
std::span<const std::uint8_t> aligned(std::span<const std::uint8_t> bytes,
                                      std::vector<std::uint64_t>& storage) {
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::uint64_t) == 0) return bytes;
  storage.resize((bytes.size() + 7) / 8);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::uint8_t*>(storage.data()));
  return {reinterpret_cast<const std::uint8_t*>(storage.data()), bytes.size()};
}

absl::Status hand_over(const fb::CloudEvent& event, OutputSink& sink) {
  const auto* all = event.extensions();
  ExtensionList extensions(all != nullptr ? all->size() : 0);
  if (all != nullptr) {
    for (const auto* one : *all) {
      if (one->kind() > static_cast<std::uint8_t>(AttributeKind::kTimestamp)) {
        return invalid_argument("extension '{}' of the output has kind {}, known are 0 to 6",
                                printable(text(one->name())), one->kind());
      }
      extensions.add(
          {text(one->name()), text(one->value()), static_cast<AttributeKind>(one->kind())});
    }
  }
  if (event.data_kind() > static_cast<std::uint8_t>(DataKind::kProto)) {
    return invalid_argument("the output has data_kind {}, known are 0 to 4", event.data_kind());
  }
  EventFields fields{
      .id = text(event.id()),
      .type = text(event.type()),
      .source = text(event.source()),
      .data_content_type = text(event.datacontenttype()),
      .data_schema = text(event.dataschema()),
      .subject = text(event.subject()),
      .time = text(event.time()),
      .data = {},
      .data_kind = static_cast<DataKind>(event.data_kind()),
      .extensions = extensions.view(),
  };
  if (event.specversion() != nullptr) fields.spec_version = text(event.specversion());
  if (const auto* data = event.data()) fields.data = std::span(data->data(), data->size());
  return sink.output(fields);
}

}  // namespace

absl::Status read_response(std::span<const std::uint8_t> bytes, OutputSink& sink) {
  std::vector<std::uint64_t> storage;
  bytes = aligned(bytes, storage);
  const auto* response = verified(bytes);
  if (response == nullptr) {
    return invalid_argument("the worker returned {} bytes that are no sound WorkerResponse",
                            bytes.size());
  }
  const std::string_view error = text(response->error_message());
  const auto* event = response->result_event();
  if (event == nullptr) {
    if (error.empty()) return absl::OkStatus();
    return make_status(absl::StatusCode::kUnknown, printable(error, 1000));
  }
  VIRTUFIN_RETURN_IF_ERROR(hand_over(*event, sink));
  if (!error.empty()) sink.report(error);
  return absl::OkStatus();
}

std::string error_message(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint64_t> storage;
  bytes = aligned(bytes, storage);
  const auto* response = verified(bytes);
  return response != nullptr ? printable(text(response->error_message()), 1000) : std::string{};
}

}  // namespace virtufin::workmanager::native
