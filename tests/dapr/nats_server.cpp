#include "dapr/nats_server.h"

#include <nats/nats.h>

#include <catch2/catch.hpp>

#include "dapr/daprd.h"

namespace virtufin::testing {
namespace {

/// What `duplicate_window` config/dapr/streams.py gives, in nanoseconds.
constexpr std::int64_t kDuplicateWindow = 100'000'000;

/// A connection and its JetStream context.
struct Connection {
  explicit Connection(const std::string& url) {
    REQUIRE(natsConnection_ConnectTo(&connection, url.c_str()) == NATS_OK);
    REQUIRE(natsConnection_JetStream(&stream, connection, nullptr) == NATS_OK);
  }
  ~Connection() {
    jsCtx_Destroy(stream);
    natsConnection_Destroy(connection);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  natsConnection* connection = nullptr;
  jsCtx* stream = nullptr;
};

}  // namespace

NatsServer::NatsServer() { restart(); }

void NatsServer::restart() {
  child_.reset();
  child_ = std::make_unique<Child>(
      std::vector<std::string>{dapr_tools().nats_server, "-js", "-a", "127.0.0.1", "-p",
                               std::to_string(port_), "-sd", directory_.path().string()},
      directory_.path() / "nats.log");
  const bool up = wait_for_port(port_, *child_);
  INFO(child_->output());
  REQUIRE(up);
}

void NatsServer::make_stream(const std::string& name, const std::vector<std::string>& subjects) {
  Connection nats(url());
  jsErrCode error = static_cast<jsErrCode>(0);
  js_DeleteStream(nats.stream, name.c_str(), nullptr, &error);  // there may be none
  std::vector<const char*> names;
  for (const std::string& subject : subjects) names.push_back(subject.c_str());
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  config.Name = name.c_str();
  config.Subjects = names.data();
  config.SubjectsLen = static_cast<int>(names.size());
  config.Storage = js_MemoryStorage;
  config.Duplicates = kDuplicateWindow;
  const natsStatus status = js_AddStream(nullptr, nats.stream, &config, nullptr, &error);
  INFO("stream " << name << ": " << natsStatus_GetText(status) << ", " << error);
  REQUIRE(status == NATS_OK);
}

std::string NatsServer::last_message(const std::string& stream, const std::string& subject) {
  Connection nats(url());
  natsMsg* found = nullptr;
  jsErrCode error = static_cast<jsErrCode>(0);
  const natsStatus status =
      js_GetLastMsg(&found, nats.stream, stream.c_str(), subject.c_str(), nullptr, &error);
  INFO("stream " << stream << ", " << subject << ": " << natsStatus_GetText(status));
  REQUIRE(status == NATS_OK);
  std::string data(natsMsg_GetData(found), static_cast<std::size_t>(natsMsg_GetDataLength(found)));
  natsMsg_Destroy(found);
  return data;
}

void NatsServer::publish(const std::string& subject, const std::string& data) {
  Connection nats(url());
  jsErrCode error = static_cast<jsErrCode>(0);
  const natsStatus status = js_Publish(nullptr, nats.stream, subject.c_str(), data.data(),
                                       static_cast<int>(data.size()), nullptr, &error);
  INFO(subject << ": " << natsStatus_GetText(status) << ", " << error);
  REQUIRE(status == NATS_OK);
}

}  // namespace virtufin::testing
