#include <fmt/format.h>
#include <simdjson.h>

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <charconv>
#include <chrono>

#include "app/doctor.h"
#include "core/errors.h"
#include "core/log.h"
#include "modules/gateway/service_spec.h"

namespace virtufin::app {
namespace {

using Level = Finding::Level;
using Findings = std::vector<Finding>;

constexpr std::chrono::seconds kPatience{3};
constexpr std::size_t kMaxLineBytes = 64 << 10;
constexpr std::size_t kMaxMessageBytes = 1 << 20;
/// Dapr sends an event's id as Nats-Msg-Id; what is published again within the window is dropped.
constexpr std::chrono::milliseconds kDuplicateWindow{100};

/// As much of the NATS protocol as a request and its answer need. Each wait has a limit.
///
/// Threads: one.
class NatsClient {
 public:
  absl::Status connect(const rpc::Endpoint& server) {
    stream_.expires_after(kPatience);
    stream_.connect(server.host, std::to_string(server.port));
    std::string line;
    if (!stream_ || !read_line(line) || line.rfind("INFO ", 0) != 0) {
      return unavailable("no NATS server answers");
    }
    stream_ << "CONNECT {\"verbose\":false}\r\nSUB answer 1\r\n" << std::flush;
    return absl::OkStatus();
  }

  /// The answer's JSON.
  absl::StatusOr<std::string> request(std::string_view subject, std::string_view body) {
    stream_.expires_after(kPatience);
    stream_ << "PUB " << subject << " answer " << body.size() << "\r\n"
            << body << "\r\n"
            << std::flush;
    std::string line;
    while (read_line(line)) {
      if (line.rfind("PING", 0) == 0) {
        stream_ << "PONG\r\n" << std::flush;
      } else if (line.rfind("-ERR", 0) == 0) {
        return unavailable("NATS refuses: {}", printable(line));
      } else if (line.rfind("HMSG ", 0) == 0) {
        // Only a header: nobody answers requests of that kind.
        return unavailable("this NATS server has no JetStream: start it with -js");
      } else if (line.rfind("MSG ", 0) == 0) {
        return read_message(line);
      }
    }
    return unavailable("NATS does not answer within {} s", kPatience.count());
  }

 private:
  bool read_line(std::string& line) {
    stream_.getline(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    if (!stream_) return false;
    line.assign(buffer_.data());
    return true;
  }

  absl::StatusOr<std::string> read_message(const std::string& head) {
    const std::size_t space = head.rfind(' ');
    std::size_t size = 0;
    const auto read = std::from_chars(head.data() + space + 1, head.data() + head.size(), size);
    if (read.ec != std::errc() || size > kMaxMessageBytes) {
      return unavailable("NATS answers what is none: {}", printable(head));
    }
    std::string data(size + 2, '\0');  // and its end of line
    stream_.read(data.data(), static_cast<std::streamsize>(data.size()));
    if (!stream_) return unavailable("NATS does not answer within {} s", kPatience.count());
    data.resize(size);
    return data;
  }

  boost::asio::ip::tcp::iostream stream_;
  std::array<char, kMaxLineBytes> buffer_{};
};

/// The stream that takes a root's topics; empty if none does.
absl::StatusOr<std::string> stream_of(NatsClient& nats, const std::string& root) {
  const auto answer =
      nats.request("$JS.API.STREAM.NAMES", fmt::format(R"({{"subject":"{}.>"}})", root));
  if (!answer.ok()) return answer.status();
  simdjson::dom::parser parser;
  simdjson::dom::element told;
  if (parser.parse(*answer).get(told)) return unavailable("NATS answers what is no JSON");
  simdjson::dom::array streams;
  if (told["streams"].get(streams)) return std::string();  // null: none
  for (const auto& stream : streams) {
    std::string_view name;
    if (!stream.get(name)) return std::string(name);
  }
  return std::string();
}

Finding examine_stream(NatsClient& nats, const std::string& root) {
  const std::string what = "stream for " + root + ".>";
  const std::string mend =
      "config/dapr/streams.py HOST:PORT makes it, or brings it to what it "
      "should be";
  const auto name = stream_of(nats, root);
  if (!name.ok()) return {Level::kBad, what, std::string(message(name.status())), "is it NATS?"};
  if (name->empty()) {
    return {Level::kBad, what, "missing: nobody can publish or subscribe there", mend};
  }
  const auto answer = nats.request("$JS.API.STREAM.INFO." + *name, "");
  simdjson::dom::parser parser;
  simdjson::dom::element told;
  std::int64_t max_age_ns = 0, max_bytes = -1, window_ns = 0;
  if (!answer.ok() || parser.parse(*answer).get(told) ||
      told["config"]["max_age"].get(max_age_ns) || told["config"]["max_bytes"].get(max_bytes)) {
    return {Level::kBad, what, fmt::format("{} does not tell its limits", printable(*name)),
            "is it NATS?"};
  }
  if (told["config"]["duplicate_window"].get(window_ns)) window_ns = 0;  // absent: none
  if (max_age_ns <= 0 && max_bytes <= 0) {
    return {Level::kWarning, what,
            fmt::format("{} grows without end: neither max_age nor max_bytes", printable(*name)),
            mend};
  }
  const auto window = std::chrono::nanoseconds(window_ns);
  if (window > kDuplicateWindow) {
    return {Level::kWarning, what,
            fmt::format("{} drops an event whose id it saw within {} ms (duplicate_window)",
                        printable(*name),
                        std::chrono::duration_cast<std::chrono::milliseconds>(window).count()),
            mend};
  }
  return {Level::kOk, what, fmt::format("{}, bounded", printable(*name)), ""};
}

}  // namespace

std::vector<Finding> examine_streams(const bus::DaprConfig& config, const std::string& server) {
  const auto endpoint = gateway::parse_host(server);
  if (!endpoint.ok()) {
    return {{Level::kBad, "streams", std::string(message(endpoint.status())),
             "give the NATS server as --nats HOST:PORT"}};
  }
  NatsClient nats;
  if (const absl::Status status = nats.connect(*endpoint); !status.ok()) {
    return {{Level::kBad, "streams", fmt::format("{} at {}", message(status), server),
             "is nats-server running there?"}};
  }
  Findings findings;
  for (const auto& [root, component] : config.components) {
    const std::string words = root.back() == '.' ? root.substr(0, root.size() - 1) : root;
    if (words != "default") findings.push_back(examine_stream(nats, words));
  }
  return findings;
}

}  // namespace virtufin::app
