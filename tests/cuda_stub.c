/* A stand-in for CUDA's runtime and driver: the calls of the emitted scripts with their real signatures, on memory of
   the host. It says whether arguments arrive as they should, and nothing of a GPU. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef void *handle;
static float now = 0;

const char *cudaGetErrorString(int code) { return code == 2 ? "out of memory" : "unknown error"; }
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaSetDeviceFlags(unsigned flags) { return flags == 1 ? 0 : 1; }
int cudaGetLastError(void) { return 0; }
int cudaMalloc(void **at, size_t size) { *at = size < (1ul << 40) ? malloc(size) : 0; return *at ? 0 : 2; }
int cudaMemset(void *at, int value, size_t size) { memset(at, value, size); return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { memcpy(to, from, size); return kind == 1 ? 0 : 1; }
int cudaStreamCreate(handle *stream) { *stream = malloc(1); return 0; }
int cudaStreamSynchronize(handle stream) { return stream ? 0 : 1; }
int cudaStreamBeginCapture(handle stream, int mode) { return stream && mode == 2 ? 0 : 1; }
int cudaStreamEndCapture(handle stream, handle *graph) { *graph = malloc(1); return stream ? 0 : 1; }
int cudaGraphInstantiateWithFlags(handle *made, handle graph, unsigned long long flags) {
  *made = malloc(1);
  return graph && flags == 0 ? 0 : 1;
}
int cudaGraphLaunch(handle graph, handle stream) { return graph && stream ? 0 : 1; }
int cudaEventCreate(float **event) { *event = malloc(sizeof(float)); return 0; }
int cudaEventRecord(float *event, handle stream) { *event = now += 0.25f; return stream ? 0 : 1; }
int cudaEventElapsedTime(float *spent, float *first, float *last) { *spent = *last - *first; return 0; }

int cuInit(unsigned flags) { return flags; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = 40 + number; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, device == 40 ? "played" : "?", size); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 8 : 7; return device != 40; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "560.35.03", size); return 0; }
