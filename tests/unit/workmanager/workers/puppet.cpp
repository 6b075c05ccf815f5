// A worker that does what its events say: the payload is `<command>[ <argument>]`.

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "virtufin/worker.h"

namespace {

std::string identity() {
  const auto value = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string(text != nullptr ? text : "");
  };
  return value("VIRTUFIN_WORKER_ID") + " " + value("VIRTUFIN_WORKER_TOPIC");
}

const std::string loaded_as = identity();  // the environment while the library is loaded
std::map<std::string, int> calls;          // by event

void on_event(const virtufin::worker::Event& event, virtufin::worker::Context& context) {
  const std::string_view data = event.data_text();
  const auto space = data.find(' ');
  const std::string_view command = data.substr(0, space);
  const std::string argument(space == data.npos ? "" : data.substr(space + 1));
  const int call = ++calls[std::string(event.id())];

  if (command == "none") return;
  if (command == "echo") {
    context.publish({.type = "com.example.echo",
                     .subject = event.subject(),
                     .data = argument,
                     .data_content_type = "text/plain"});
  } else if (command == "to") {
    context.publish({.type = "com.example.to", .extensions = {{"publishtopic", argument}}});
  } else if (command == "order") {
    context.publish({.type = "com.virtufin.trading.order.submitted",
                     .subject = "order/" + argument,
                     .data = R"({"order_id":")" + argument +
                             R"(","symbol":"BTCUSDT","side":"buy","type":"limit","qty":"2",)"
                             R"("price":"10.50","venue":"binance","submitted_at":"x"})",
                     .extensions = {{"publishtopic", "sc.LIVE.orders"}}});
  } else if (command == "filled") {
    context.publish({.type = "com.virtufin.trading.order.filled",
                     .subject = "order/" + argument,
                     .data = R"({"fill_id":"1","qty_filled":"0.5","price":"10.40",)"
                             R"("remaining_qty":"1.5"})"});
  } else if (command == "fail") {  // the first so many calls of this event
    if (call <= std::stoi(argument)) return context.fail("failed on call " + std::to_string(call));
    context.publish({.type = "com.example.recovered", .data = std::to_string(call)});
  } else if (command == "report") {
    context.publish({.type = "com.example.reported"});
    context.fail("something to tell");
  } else if (command == "throw") {
    throw std::runtime_error("thrown on purpose");
  } else if (command == "untyped") {
    context.publish({.type = "", .subject = "x"});
  } else if (command == "hang") {  // until that file exists
    while (!std::filesystem::exists(argument)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } else if (command == "identity") {
    context.publish({.type = "com.example.identity", .data = loaded_as});
  } else if (command == "config") {
    context.publish({.type = "com.example.config", .data = event.extension(argument)});
  } else if (command == "call") {
    std::uint8_t* response = nullptr;
    std::int32_t length = 0;
    const VirtufinHost* host = context.host();
    const std::int32_t code =
        host->gateway_call(host->engine_ptr, "virtufin.WorkManager", argument.c_str(),
                           reinterpret_cast<const std::uint8_t*>("{}"), 2, &response, &length);
    const std::string text =
        std::to_string(code) + " " +
        std::string(reinterpret_cast<const char*>(response), static_cast<std::size_t>(length));
    host->free_response(host->engine_ptr, response);
    context.publish({.type = "com.example.called", .data = text});
  }
}

}  // namespace

VIRTUFIN_WORKER(on_event)
