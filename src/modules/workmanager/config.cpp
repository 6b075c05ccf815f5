#include "modules/workmanager/config.h"

namespace virtufin::workmanager {

void WorkManagerConfig::read(ConfigSection section) {
  section.value("host", host, "Address of the WorkManager's own ports");
  section.value("http_port", http_port, "REST; 0: a free one", {0, 65'535});
  section.value("grpc_port", grpc_port, "gRPC; 0: a free one", {0, 65'535});
  section.value("worker_threads", worker_threads, "Threads that workers share", {1, 256});
  section.value("max_workers", max_workers, "Workers at once", {1, 100'000});
  section.value("queue_events", queue_events, "Events that wait for one worker", {1, 16'777'216});
  section.value("max_in_flight", max_in_flight, "Events of one worker that are not answered yet",
                {1, 65'536});
  section.value("outputs_bound", outputs_bound,
                "Outputs of one worker that wait to be recorded and published", {1, 65'536});
  section.value("timeout_ms", timeout, "Of one call of Process", {1, 86'400'000});
  section.value("retry_max_attempts", retry_max_attempts,
                "Tries of Process, and of recording and publishing an output", {1, 100});
  section.value("retry_first_delay_ms", retry_first_delay, "Before the second try; doubles",
                {0, 86'400'000});
  section.value("retry_max_delay_ms", retry_max_delay, "The longest wait between tries",
                {0, 86'400'000});
  section.value("recovery_interval_ms", recovery_interval,
                "Between tries to load a worker that did not come back", {100, 86'400'000});
  section.value("order_index_interval_ms", order_index_interval,
                "Between writes of the index of orders", {1, 60'000});
  section.value("order_index_page_ids", order_index_page_ids, "Order ids in a page of the index",
                {1, 1000});
  section.value("order_index_queue", order_index_queue, "Order ids that wait for their page",
                {1000, 100'000'000});
  section.value("code_dir", code_dir,
                "Folder for private copies of libraries; empty: the system's temporary one");
  section.value("max_code_bytes", code.max_code_bytes, "Of a library or package as handed in",
                {1, std::int64_t{1} << 31});
  section.value("max_library_bytes", code.max_library_bytes, "Of a library inside a package",
                {1, std::int64_t{1} << 31});
  section.value("max_manifest_bytes", code.max_manifest_bytes, "Of a package's nuspec or manifest",
                {1, 64 << 20});
  section.value("max_package_entries", code.max_package_entries, "Files in a package",
                {1, 1'000'000});
}

}  // namespace virtufin::workmanager
