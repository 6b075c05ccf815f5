/* The native worker ABI of Virtufin, version 1: what a shared library exports to be a worker.
 *
 * A worker is a library for the host's architecture (linux-x64: x86-64 ELF) with two C functions,
 * Process and FreeResult. Messages are FlatBuffers of schema/worker_api.fbs, namespace
 * Virtufin.Worker.FlatBuffers, without size prefix and file identifier. C++ authors find a thin
 * wrapper in sdk/cpp.
 *
 * Life: the host loads a private copy of the library for every worker, so that two workers of the
 * same code share no globals (build with -fno-gnu-unique, else C++ statics in headers are shared).
 * While it is loaded the environment holds VIRTUFIN_WORKER_ID and VIRTUFIN_WORKER_TOPIC (the first
 * topic): read them in a constructor, not later. It is unloaded when the worker is stopped for
 * good.
 *
 * Threads: Process is called by one thread at a time, not always the same, unless the worker was
 * created with concurrency > 1.
 *
 * Time: a worker sees time only through the event (extension eventtime, RFC 3339), so that it
 * answers the same live and in a backtest.
 */
#ifndef VIRTUFIN_WORKER_H_
#define VIRTUFIN_WORKER_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIRTUFIN_ABI_VERSION 1

#if defined(_WIN32)
#define VIRTUFIN_EXPORT __declspec(dllexport)
#else
#define VIRTUFIN_EXPORT __attribute__((visibility("default")))
#endif

enum {
  VIRTUFIN_LOG_TRACE = 0,
  VIRTUFIN_LOG_DEBUG = 1,
  VIRTUFIN_LOG_INFO = 2,
  VIRTUFIN_LOG_WARN = 3,
  VIRTUFIN_LOG_ERROR = 4
};

/* What the host offers. Valid as long as the library is loaded; callbacks may be called from any
 * thread of the worker. 40 bytes on 64-bit machines. */
typedef struct VirtufinHost {
  void* engine_ptr;    /* first argument of every callback */
  int32_t abi_version; /* VIRTUFIN_ABI_VERSION of the host, then 4 bytes of padding */

  /* Writes one line to the host's log under the worker's id. `utf8` ends in a NUL. */
  void (*log)(void* engine, int32_t level, const char* utf8);

  /* Calls a method of the platform: `service` as "virtufin.State", `method` as "GetState", request
   * and response as UTF-8 JSON (the proto3 mapping). Blocks the calling thread.
   *
   * Returns 0 and the answer, or a gRPC status number and {"code": n, "message": "..."}: 3 bad
   * request, 5 no such method, 9 (FAILED_PRECONDITION) from a worker that is dispatched inline,
   * where blocking would stop a feed. A response that is not NULL belongs to the worker, which
   * gives it back through free_response, after an error too. */
  int32_t (*gateway_call)(void* engine, const char* service, const char* method,
                          const uint8_t* request, int32_t request_len, uint8_t** response,
                          int32_t* response_len);
  void (*free_response)(void* engine, uint8_t* response);
} VirtufinHost;

/* Handles one event.
 *
 * `in_buf` is a FlatBuffer CloudEvent that the host vouches for; it is valid only during the call
 * and must not be changed. On return *out_buf is NULL (no output) or a FlatBuffer WorkerResponse
 * that the worker allocated: result_event alone = publish it, error_message alone = failure,
 * both = publish and report, neither = nothing. The host verifies and copies it, then calls
 * FreeResult exactly once, whatever was returned.
 *
 * Returns 0 = handled, else failure. A failed event is tried again by the worker's retry policy and
 * then dead-lettered. */
VIRTUFIN_EXPORT int32_t Process(const VirtufinHost* host, const uint8_t* in_buf, int32_t in_len,
                                uint8_t** out_buf, int32_t* out_len);

/* Frees what Process returned. */
VIRTUFIN_EXPORT void FreeResult(uint8_t* buf);

#ifdef __cplusplus
}
#endif

#endif /* VIRTUFIN_WORKER_H_ */
