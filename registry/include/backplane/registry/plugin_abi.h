#ifndef BACKPLANE_REGISTRY_PLUGIN_ABI_H
#define BACKPLANE_REGISTRY_PLUGIN_ABI_H

/* The C line between host and plugin. Every struct starts with its size and only ever grows within an ABI number.
   Nothing of C++ crosses it: strings are pointer and length, errors a status and a text, exceptions never. */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BACKPLANE_ABI_VERSION 1u
#define BACKPLANE_ENTRY_SYMBOL "backplane_plugin_entry"

typedef struct backplane_string {
  const char* data;
  uint64_t size;
} backplane_string;

typedef struct backplane_host_v1 {
  uint32_t struct_size;
  uint32_t abi_version;
  backplane_string fingerprint; /* canonical "key=value" lines of the host */
  /* Takes the reason when a call of the plugin returns non-zero. Copies the text. [same thread as the call] */
  void (*set_error)(void* context, const char* message, uint64_t size);
  void* context;
  void* reserved[4];
} backplane_host_v1;

/* Who the plugin is, as the build knows it; backplane_add_plugin() writes it into a source of its own. */
typedef struct backplane_build_info {
  uint32_t struct_size;
  uint32_t reserved;
  backplane_string id;
  backplane_string version;
  backplane_string license;
} backplane_build_info;

typedef struct backplane_plugin_v1 {
  uint32_t struct_size;
  uint32_t abi_version;
  const backplane_build_info* build;
  backplane_string fingerprint; /* of the plugin's build; the host compares it before it calls register_plugin */
  /* Adds everything the plugin provides to the backplane::Registration at `registration`. Non-zero: failed, nothing is
     kept. May be called more than once. [load-time only, one thread] */
  int32_t (*register_plugin)(const backplane_host_v1* host, void* registration);
  void* reserved[4];
} backplane_plugin_v1;

/* The one symbol that a plugin exports. The descriptor lives as long as the library. [any thread, does no work] */
typedef const backplane_plugin_v1* (*backplane_plugin_entry_fn)(const backplane_host_v1* host);

#ifdef __cplusplus
}
#endif

#endif
