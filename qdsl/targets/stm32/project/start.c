/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up of a Cortex-M without a C library: the vector table, the FPU, .data and .bss, and a painted stack.
 *
 * The linker script (stm32h7b3.ld on the board, mps2.ld under QEMU) says where everything lies. Clocks and caches are
 * as they are after reset: what sets them up belongs into main(). Other interrupts than the core's are not used; a
 * project with a vector table of its own leaves this file out.
 */
#include <stdint.h>

extern uint32_t stack_low[], stack_top[], data_stored[], data_start[], data_end[], bss_start[], bss_end[];

int main(void);
void reset(void);
void fault(void);
uint32_t *stack_position(void);
void stack_paint(void);
uint32_t stack_used(void);

#define PAINT 0xA5C3E17Bu
#define CPACR (*(volatile uint32_t *)0xE000ED88u)

/* Replaced by whoever has somebody to tell. */
__attribute__((weak)) void fault(void) {
    for (;;) {
    }
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *top;
    handler handlers[15];
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault}};

__attribute__((naked, noinline)) uint32_t *stack_position(void) {
    __asm__ volatile("mov r0, sp\n bx lr");
}

/* Paint what lies below the caller's frame: called again, `stack_used` tells of what ran since. Through volatile: else
 * the compiler makes calls of memset and memcpy of these loops. */
__attribute__((noinline)) void stack_paint(void) {
    for (volatile uint32_t *at = stack_low; at < stack_position(); at++) {
        *at = PAINT;
    }
}

/* Bytes from the top of the stack to the lowest word that was written. All of the stack: it was too small. */
uint32_t stack_used(void) {
    const volatile uint32_t *at = stack_low;
    while (at < stack_top && *at == PAINT) {
        at++;
    }
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)at);
}

__attribute__((noreturn)) void reset(void) {
#ifdef __ARM_FP
    CPACR |= 0xFu << 20; /* full access to CP10 and CP11 */
    __asm__ volatile("dsb\n isb");
#endif
    const uint32_t *from = data_stored;
    for (volatile uint32_t *at = data_start; at < data_end; at++) {
        *at = *from++;
    }
    for (volatile uint32_t *at = bss_start; at < bss_end; at++) {
        *at = 0;
    }
    stack_paint();
    main();
    for (;;) {
    }
}
