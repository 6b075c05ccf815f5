#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>

#include <future>
#include <map>
#include <set>

#include "app/doctor.h"
#include "bus/dapr/dapr_store.h"
#include "bus/dapr/sidecar.h"
#include "core/errors.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/uuid.h"
#include "dapr/proto/runtime/v1/dapr.pb.h"

namespace virtufin::app {
namespace {

using Level = Finding::Level;
using Findings = std::vector<Finding>;

constexpr std::chrono::seconds kPatience{3};
constexpr char kProbeKey[] = "doctor.probe";

/// One component, and the roots of topics that go through it.
using Roots = std::map<std::string, std::set<std::string>>;

Roots roots_of(const bus::DaprConfig& config) {
  Roots roots;
  for (const auto& [root, component] : config.components) {
    roots[component].insert(root.back() == '.' ? root.substr(0, root.size() - 1) : root);
  }
  return roots;
}

/// Waits for what is answered on the sidecar's thread.
template <class T, class Begin>
absl::StatusOr<T> await(Begin begin) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<T>>>();
  auto answer = promise->get_future();
  begin([promise](absl::StatusOr<T> result) { promise->set_value(std::move(result)); });
  if (answer.wait_for(kPatience * 2) != std::future_status::ready) {
    return deadline_exceeded("no answer within {} s", (kPatience * 2).count());
  }
  return answer.get();
}

absl::Status publish_probe(bus::Sidecar& sidecar, const std::string& component,
                           const std::string& topic) {
  dapr::proto::runtime::v1::PublishEventRequest request;
  request.set_pubsub_name(component);
  request.set_topic(topic);
  request.set_data_content_type("application/cloudevents+json");
  request.set_data(fmt::format(
      R"({{"specversion":"1.0","id":"{}","source":"urn:com.virtufin.doctor","type":"com.virtufin.doctor.probe"}})",
      random_uuid().view()));
  return await<google::protobuf::Empty>([&](auto done) {
           sidecar.call<google::protobuf::Empty>("PublishEvent", request, {kPatience},
                                                 std::move(done));
         })
      .status();
}

void examine_pubsub(bus::Sidecar& sidecar, const bus::SidecarInfo& info,
                    const DoctorOptions& options, Findings& findings) {
  std::vector<std::string> jetstream;
  for (const auto& [component, roots] : roots_of(sidecar.config())) {
    const std::string what = "component " + component;
    const std::string topics = fmt::format("{}", fmt::join(roots, ", "));
    const auto* found = info.find("pubsub", component);
    if (found == nullptr) {
      findings.push_back({Level::kBad, what,
                          fmt::format("missing, for topics of {} (the sidecar has: {})", topics,
                                      info.names("pubsub")),
                          "add its file to the sidecar's --resources-path (config/dapr/ has them), "
                          "or change bus.dapr.components"});
      continue;
    }
    const bool needs_stream = found->type == "pubsub.jetstream";
    if (needs_stream && !roots.count("default")) jetstream.push_back(component);
    Finding finding{Level::kOk, what, fmt::format("{}, for topics of {}", found->type, topics), ""};
    // The rest of the topics has no stream that would be known here.
    if (options.publish && !(needs_stream && roots.count("default"))) {
      for (const std::string& root : roots) {
        const std::string topic = (root == "default" ? "doctor" : root) + ".doctor.probe";
        const absl::Status status = publish_probe(sidecar, component, topic);
        if (status.ok()) continue;
        finding = {Level::kBad, what,
                   fmt::format("{} does not take an event on {}: {}", found->type, topic,
                               printable(message(status), 500)),
                   needs_stream ? fmt::format("is the broker up, and has it a stream for {0}.>? "
                                              "config/dapr/streams.py HOST:PORT makes it",
                                              root)
                                : "is the broker up?"};
      }
      if (finding.level == Level::kOk) finding.found += "; its broker takes events";
    }
    findings.push_back(std::move(finding));
  }
  if (!options.nats.empty()) {
    for (Finding& finding : examine_streams(sidecar.config(), options.nats)) {
      findings.push_back(std::move(finding));
    }
  } else if (!jetstream.empty() && !options.publish) {
    findings.push_back({Level::kWarning, "streams",
                        fmt::format("not looked for, of {}: a sidecar tells only who publishes",
                                    fmt::join(jetstream, ", ")),
                        "virtufin doctor --nats HOST:PORT, or --publish; config/dapr/streams.py "
                        "HOST:PORT makes them, "
                        "bounded and with the short duplicate_window that dead letters need"});
  }
}

void examine_store(bus::Sidecar& sidecar, const bus::SidecarInfo& info, Metrics& metrics,
                   Findings& findings) {
  const std::string& name = sidecar.config().state_store;
  const std::string what = "component " + name;
  const auto* found = info.find("state", name);
  if (found == nullptr) {
    findings.push_back(
        {Level::kBad, what,
         fmt::format("missing, the state store (the sidecar has: {})", info.names("state")),
         "add its file to the sidecar's --resources-path (config/dapr/ has one), or "
         "change bus.dapr.state_store"});
    return;
  }
  bus::DaprStore store(sidecar, metrics);
  const auto read =
      await<bus::Item>([&](bus::Done<bus::Item> done) { store.get(kProbeKey, std::move(done)); });
  if (!read.ok()) {
    findings.push_back(
        {Level::kBad, what,
         fmt::format("{} cannot be read: {}", found->type, printable(message(read.status()), 500)),
         "is the store behind it up, and its address right?"});
    return;
  }
  findings.push_back({Level::kOk, what, fmt::format("{}, can be read", found->type), ""});
}

}  // namespace

std::vector<Finding> examine_sidecar(const ProcessConfig& config, const DoctorOptions& options) {
  Findings findings;
  Metrics metrics;
  bus::DaprConfig patient = config.dapr;
  patient.call_timeout = std::min<std::chrono::milliseconds>(patient.call_timeout, kPatience);
  patient.queue_wait = std::min<std::chrono::milliseconds>(patient.queue_wait, kPatience);
  bus::Sidecar sidecar(patient, metrics);
  const absl::Status reached = sidecar.wait_until_reachable(kPatience);
  const auto info = sidecar.info();
  if (!reached.ok() || info == nullptr) {
    findings.push_back({Level::kBad, "sidecar", std::string(message(reached)),
                        "start one: daprd --app-id virtufin --resources-path config/dapr/redis "
                        "--dapr-grpc-port 50001; or say where it is: bus.dapr.endpoint, "
                        "DAPR_GRPC_PORT"});
    return findings;
  }
  findings.push_back({Level::kOk, "sidecar",
                      fmt::format("{}: app {}, Dapr {}", sidecar.endpoint(),
                                  printable(info->app_id), printable(info->runtime_version)),
                      ""});
  examine_pubsub(sidecar, *info, options, findings);
  examine_store(sidecar, *info, metrics, findings);
  return findings;
}

}  // namespace virtufin::app
