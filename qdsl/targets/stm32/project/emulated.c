/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the network under QEMU (mps2-an500, mps2-an386), by semihosting: no device, no C library.
 *
 * Reads `inputs` in QEMU's working directory (a file, or a pipe), the bytes of all inputs of one sample after those of another, and writes
 * `outputs` likewise, `ticks` (one word per sample) and `counts`. Built with emulated.h before network.c it counts each
 * step for itself, and where there is a file `wanted` (two words per step: where in the arena its output begins, how
 * many bytes it has) it writes these bytes to `traces` as each step ends.
 *
 * Timer 0 counts 25 MHz of virtual time; with `-icount shift=5` an instruction takes 32 ns of it, so that a tick of
 * 40 ns is 1.25 instructions. Instructions are no cycles.
 */
#include <stddef.h>
#include <stdint.h>

#include "network.h"

extern uint32_t stack_low[], stack_top[], aside_start[], aside_end[];
uint32_t *stack_position(void);
void stack_paint(void);
uint32_t stack_used(void);
void fault(void);
void fault_told(const uint32_t *frame);
void emulated_step(unsigned step);
int main(void);

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define TIMER_CONTROL REGISTER(0x40000000u)
#define TIMER_VALUE REGISTER(0x40000004u)
#define TIMER_RELOAD REGISTER(0x40000008u)
#define TIMER_INTERRUPT REGISTER(0x4000000Cu)
#define MPU_CONTROL REGISTER(0xE000ED94u)
#define MPU_NUMBER REGISTER(0xE000ED98u)
#define MPU_BASE REGISTER(0xE000ED9Cu)
#define MPU_SIZE REGISTER(0xE000EDA0u)

enum { ENDED = 0, REFUSED = 10, FILES = 11, FAULT = 12, STACK = 13, LIBRARY = 14 }; /* QEMU's exit status */
enum { VERSION = 1 };
#define TIMES_16(what) what what what what what what what what what what what what what what what what

static uint8_t arena[NETWORK_ARENA_BYTES] __attribute__((section(".bss.arena"), aligned(16)));

static struct {
    uint32_t version, samples, steps, stack, run_overhead, step_overhead, wrapped, reserved;
} counts;
static uint64_t step_ticks[NETWORK_STEPS];
static uint32_t wanted[NETWORK_STEPS][2];
static int inputs, outputs, ticks, traces;
static uint32_t last;
static int stepping;

/* ---- semihosting ------------------------------------------------------------------------------------------------- */

static int host(int what, const void *words) {
    register int r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = words;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

__attribute__((noreturn)) static void leave(uint32_t status) {
    const uint32_t words[2] = {0x20026u, status};
    for (;;) {
        host(0x20, words);
    }
}

static int open_file(const char *name, uint32_t mode) {
    uint32_t length = 0;
    while (name[length] != 0) {
        length++;
    }
    const uint32_t words[3] = {(uint32_t)(uintptr_t)name, mode, length};
    return host(0x01, words);
}

static int opened(const char *name, uint32_t mode) {
    const int handle = open_file(name, mode);
    if (handle < 0) {
        leave(FILES);
    }
    return handle;
}

/* How many bytes were not read, since there are no more: a pipe gives some at a time. */
static uint32_t read_file(int handle, void *to, uint32_t bytes) {
    uint8_t *at = to;
    while (bytes != 0) {
        const uint32_t words[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)at, bytes};
        const uint32_t missing = (uint32_t)host(0x06, words);
        if (missing >= bytes) {
            break;
        }
        at += bytes - missing;
        bytes = missing;
    }
    return bytes;
}

static void write_file(int handle, const void *from, uint32_t bytes) {
    const uint32_t words[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)from, bytes};
    if (host(0x05, words) != 0) {
        leave(FILES);
    }
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

/* On a stack of its own: the other may be what is wrong. */
__attribute__((naked)) void fault(void) {
    __asm__ volatile("mov r0, sp\n ldr r1, =stack_top\n mov sp, r1\n b fault_told\n .ltorg");
}

/* To the host: CFSR, HFSR, MMFAR, BFAR, where the stack was, and the program counter, 0 where the stack has none. */
__attribute__((noreturn)) void fault_told(const uint32_t *frame) {
    const uint32_t at = (uint32_t)(uintptr_t)frame;
    const int whole = at >= (uint32_t)(uintptr_t)stack_low && at + 32u <= (uint32_t)(uintptr_t)stack_top;
    const uint32_t words[6] = {REGISTER(0xE000ED28u), REGISTER(0xE000ED2Cu), REGISTER(0xE000ED34u),
                               REGISTER(0xE000ED38u), at, whole ? frame[6] : 0u};
    write_file(opened("fault", 5), words, sizeof words);
    leave(FAULT);
}

static void region(uint32_t number, uint32_t base, uint32_t attributes) {
    MPU_NUMBER = number;
    MPU_BASE = base;
    MPU_SIZE = attributes | 1u;
}

/* QEMU has plain memory in many places; a board has not, and faults. So here: flash is not written, nothing is at NULL
 * (where the core alone reads its vectors), below the stack, or anywhere but in flash and RAM. */
static void guard(void) {
    const uint32_t reads = 6u << 24, writes = 3u << 24 | 1u << 28, nothing = 1u << 28;
    region(0, 0x00000000u, reads | 21u << 1);   /* 4 MB */
    region(1, 0x00000000u, nothing | 5u << 1);  /* 64 bytes */
    region(2, 0x20000000u, writes | 21u << 1);  /* 4 MB */
    region(3, 0x40000000u, writes | 11u << 1);  /* 4 KB, the timer */
    MPU_CONTROL = 1u;
    __asm__ volatile("dsb\n isb");
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static uint32_t now(void) {
    return 0xFFFFFFFFu - TIMER_VALUE;
}

__attribute__((noinline)) void emulated_step(unsigned step) {
    const uint32_t at = now();
    step_ticks[step] += at - last;
    if (traces >= 0 && stepping) {
        write_file(traces, arena + wanted[step][0], wanted[step][1]);
    }
    last = now();
}

/* What counting itself takes, 16 times over: a tick is longer than an instruction. Written out, since a loop would
 * count, too. */
static void calibrate(void) {
    uint32_t at;
    TIMES_16(at = now(); counts.run_overhead += now() - at;)
    last = now();
    TIMES_16(emulated_step(0);)
    counts.step_overhead = (uint32_t)step_ticks[0];
    step_ticks[0] = 0;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

/* 1: a sample was read; 0: there are no more. */
static int read_sample(void) {
    for (unsigned i = 0; i < NETWORK_INPUTS; i++) {
        const struct network_tensor *input = network_input(i);
        const uint32_t missing = read_file(inputs, input->data, input->bytes);
        if (missing == input->bytes && i == 0) {
            return 0;
        }
        if (missing != 0) {
            leave(FILES);
        }
    }
    return 1;
}

static void start_timer(void) {
    TIMER_CONTROL = 0;
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_INTERRUPT = 1;
    TIMER_CONTROL = 9; /* on, and it says when it has passed 0 */
}

/* The stack of network_run alone: nothing else runs between the paint and the look at it. */
__attribute__((noinline)) static void run_sample(void) {
    const uint32_t above = (uint32_t)((uintptr_t)stack_top - (uintptr_t)stack_position());
    stack_paint();
    start_timer();
    last = now();
    const uint32_t at = last;
    const int refused = network_run();
    const uint32_t taken = now() - at;
    if (refused) {
        leave(refused == -2 ? LIBRARY : REFUSED);
    }
    counts.wrapped |= TIMER_INTERRUPT;
    const uint32_t used = stack_used();
    if (used >= (uint32_t)((uintptr_t)stack_top - (uintptr_t)stack_low)) {
        leave(STACK);
    }
    if (used - above > counts.stack) {
        counts.stack = used - above;
    }
    write_file(ticks, &taken, sizeof taken);
}

int main(void) {
    for (volatile uint32_t *at = aside_start; at < aside_end; at++) {
        *at = 0;
    }
    traces = -1;
    guard();
    for (volatile uint8_t *at = arena; at < arena + sizeof arena; at++) {
        *at = 0xA5; /* as if something had run before: nothing of it may matter */
    }
    const int taken = network_init(arena, sizeof arena);
    if (taken != 0) {
        leave(taken == -2 ? LIBRARY : REFUSED);
    }
    inputs = opened("inputs", 1);
    outputs = opened("outputs", 5);
    ticks = opened("ticks", 5);
    const int given = open_file("wanted", 1);
    if (given >= 0) {
        if (read_file(given, wanted, sizeof wanted) != 0) {
            leave(FILES);
        }
        traces = opened("traces", 5);
    }
    start_timer();
    calibrate();
    stepping = 1;
    while (read_sample()) {
        run_sample();
        for (unsigned i = 0; i < NETWORK_OUTPUTS; i++) {
            const struct network_tensor *output = network_output(i);
            write_file(outputs, output->data, output->bytes);
        }
        counts.samples++;
    }
    counts.version = VERSION;
    counts.steps = NETWORK_STEPS;
    const int told = opened("counts", 5);
    write_file(told, &counts, sizeof counts);
    write_file(told, step_ticks, sizeof step_ticks);
    leave(ENDED);
}
