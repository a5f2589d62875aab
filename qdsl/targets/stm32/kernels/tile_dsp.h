/* The products of tile.h in the instructions of a core with the DSP extension. Sums of four channels of two pixels stay
   in r0-r3 and r4-r7; for each pair of inputs r8, r9 are the pixels', r10, r11 the weights', r12 and lr point to
   both. */
#if QDSL_DSP
_Static_assert(offsetof(struct qdsl_tile, x) == 4 && offsetof(struct qdsl_tile, skipped) == 8
                   && offsetof(struct qdsl_tile, end) == 12 && offsetof(struct qdsl_tile, out) == 16
                   && offsetof(struct qdsl_tile, shift) == 28 && offsetof(struct qdsl_tile, packed) == 32
                   && offsetof(struct qdsl_tile, weights) == 48,
               "where the instructions find it");
#define QDSL_PAIR_WORDS                                                                                                \
    "ldrd r8, r9, [r12], #8\n\t"                                                                                       \
    "ldrd r10, r11, [lr], #8\n\t"                                                                                      \
    "smlad r0, r8, r10, r0\n\t"                                                                                        \
    "smlad r4, r9, r10, r4\n\t"                                                                                        \
    "smlad r1, r8, r11, r1\n\t"                                                                                        \
    "smlad r5, r9, r11, r5\n\t"                                                                                        \
    "ldrd r10, r11, [lr], #8\n\t"                                                                                      \
    "smlad r2, r8, r10, r2\n\t"                                                                                        \
    "smlad r6, r9, r10, r6\n\t"                                                                                        \
    "smlad r3, r8, r11, r3\n\t"                                                                                        \
    "smlad r7, r9, r11, r7\n\t"
#define QDSL_PAIR_BYTES                                                                                                \
    "ldrd r8, r9, [r12], #8\n\t"                                                                                       \
    "ldr r10, [lr], #4\n\t"                                                                                            \
    "sxtb16 r11, r10\n\t"                                                                                              \
    "sxtb16 r10, r10, ror #8\n\t"                                                                                      \
    "smlad r0, r8, r11, r0\n\t"                                                                                        \
    "smlad r4, r9, r11, r4\n\t"                                                                                        \
    "ldr r11, [lr], #4\n\t"                                                                                            \
    "smlad r1, r8, r10, r1\n\t"                                                                                        \
    "smlad r5, r9, r10, r5\n\t"                                                                                        \
    "sxtb16 r10, r11\n\t"                                                                                              \
    "sxtb16 r11, r11, ror #8\n\t"                                                                                      \
    "smlad r2, r8, r10, r2\n\t"                                                                                        \
    "smlad r6, r9, r10, r6\n\t"                                                                                        \
    "smlad r3, r8, r11, r3\n\t"                                                                                        \
    "smlad r7, r9, r11, r7\n\t"

/* Where r8 points: four sums of each pixel start at the same four biases. */
#define QDSL_BIASES(at)                                                                                                \
    "ldm " at ", {r0-r3}\n\t"                                                                                          \
    "ldm " at "!, {r4-r7}\n\t"

/* Sums in r0-r7 times the scales in s10-s13: whole numbers, in r0-r7. By an addition, in their lower halves, s14 above
   (qdsl_shift); or by a conversion, within 15 bits. */
#define QDSL_SCALED                                                                                                    \
    "vmov s0, s1, r0, r1\n\t"                                                                                          \
    "vmov s2, s3, r2, r3\n\t"                                                                                          \
    "vmov s4, s5, r4, r5\n\t"                                                                                          \
    "vmov s6, s7, r6, r7\n\t"                                                                                          \
    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7\n\t"                                                                               \
    "vcvt.f32.s32 s\\i, s\\i\n\t"                                                                                      \
    ".endr\n\t"                                                                                                        \
    ".irp i, 0, 1, 2, 3\n\t"                                                                                           \
    "vmul.f32 s\\i, s\\i, s1\\i\n\t"                                                                                   \
    ".endr\n\t"                                                                                                        \
    "vmul.f32 s4, s4, s10\n\t"                                                                                         \
    "vmul.f32 s5, s5, s11\n\t"                                                                                         \
    "vmul.f32 s6, s6, s12\n\t"                                                                                         \
    "vmul.f32 s7, s7, s13\n\t"
#define QDSL_BACK                                                                                                      \
    "vmov r0, r1, s0, s1\n\t"                                                                                          \
    "vmov r2, r3, s2, s3\n\t"                                                                                          \
    "vmov r4, r5, s4, s5\n\t"                                                                                          \
    "vmov r6, r7, s6, s7\n\t"
#define QDSL_ADDED                                                                                                     \
    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7\n\t"                                                                               \
    "vadd.f32 s\\i, s\\i, s14\n\t"                                                                                     \
    ".endr\n\t" QDSL_BACK
#define QDSL_CONVERTED                                                                                                 \
    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7\n\t"                                                                               \
    "vcvtr.s32.f32 s\\i, s\\i\n\t"                                                                                     \
    ".endr\n\t" QDSL_BACK                                                                                              \
    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7\n\t"                                                                               \
    "ssat r\\i, #15, r\\i\n\t"                                                                                         \
    ".endr\n\t"

/* Four whole numbers in a, b, c, d as four codes in a: any int8, or as `packed` says, in r8-r11. */
#define QDSL_WHOLE(a, b, c, d)                                                                                         \
    "pkhbt " a ", " a ", " c ", lsl #16\n\t"                                                                           \
    "pkhbt " b ", " b ", " d ", lsl #16\n\t"                                                                           \
    "usat16 " a ", #8, " a "\n\t"                                                                                      \
    "usat16 " b ", #8, " b "\n\t"                                                                                      \
    "orr " a ", " a ", " b ", lsl #8\n\t"                                                                              \
    "eor " a ", " a ", #0x80808080\n\t"
#define QDSL_CLIPPED(a, b, c, d)                                                                                       \
    "pkhbt " a ", " a ", " c ", lsl #16\n\t"                                                                           \
    "pkhbt " b ", " b ", " d ", lsl #16\n\t"                                                                           \
    "sadd16 " a ", " a ", r8\n\t"                                                                                      \
    "sadd16 " b ", " b ", r8\n\t"                                                                                      \
    "usat16 " a ", #8, " a "\n\t"                                                                                      \
    "usat16 " b ", #8, " b "\n\t"                                                                                      \
    "orr " a ", " a ", " b ", lsl #8\n\t"                                                                              \
    "uqadd8 " a ", " a ", r9\n\t"                                                                                      \
    "uqsub8 " a ", " a ", r10\n\t"                                                                                     \
    "uadd8 " a ", " a ", r11\n\t"

/* Codes in r0 and r4, with `packed` so far above the stack pointer. */
#define QDSL_CODES_WHOLE(packed)                                                                                       \
    QDSL_SCALED QDSL_ADDED QDSL_WHOLE("r0", "r1", "r2", "r3") QDSL_WHOLE("r4", "r5", "r6", "r7")
#define QDSL_CODES_ANY(packed)                                                                                         \
    QDSL_SCALED QDSL_CONVERTED "ldrd r8, r9, [sp, #" #packed "]\n\t"                                                   \
                               "ldrd r10, r11, [sp, #" #packed " + 8]\n\t"                                             \
    QDSL_CLIPPED("r0", "r1", "r2", "r3") QDSL_CLIPPED("r4", "r5", "r6", "r7")

/* The loop over pairs of inputs is 8 pairs long and starts within; a pair is so many bytes. */
#define QDSL_PAIRS(pair, end)                                                                                          \
    "1:\n\t"                                                                                                           \
    ".rept 8\n\t" pair ".endr\n\t"                                                                                     \
    "ldr r10, [sp, #" end "]\n\t"                                                                                      \
    "cmp r12, r10\n\t"                                                                                                 \
    "bne 1b\n\t"
#define QDSL_START(into, bytes, spare)                                                                                 \
    "mov " spare ", #" #bytes "\n\t"                                                                                   \
    "mul " into ", " into ", " spare "\n\t"                                                                            \
    "adr " spare ", 1f\n\t"                                                                                            \
    "add " into ", " into ", " spare "\n\t"                                                                            \
    "orr " into ", " into ", #1\n\t"

#if QDSL_FPU
/* All channels of a tile. Its first 12 words lie on the stack. */
#define QDSL_FOURS(name, pair, bytes, codes)                                                                           \
    static QDSL_NAKED void name(QDSL_UNREAD const struct qdsl_tile *tile)                                              \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "ldr lr, [r0, #48]\n\t"                                                                                \
                "vldr s14, [r0, #28]\n\t"                                                                              \
                "ldm r0, {r0-r11}\n\t" QDSL_START("r2", bytes, "r12")                                                  \
                "push {r0-r11}\n"                                                                                      \
                "2:\n\t"                                                                                               \
                "ldrd r8, r12, [sp]\n\t" QDSL_BIASES("r8")                                                             \
                "vldmia r8!, {s10-s13}\n\t"                                                                            \
                "str r8, [sp]\n\t"                                                                                     \
                "ldr pc, [sp, #8]\n\t"                                                                                 \
                ".balign 4\n" QDSL_PAIRS(pair, "12") codes(32)                                                         \
                "ldrd r2, r3, [sp, #16]\n\t"                                                                           \
                "ldr r8, [sp, #24]\n\t"                                                                                \
                "str r0, [r2], #4\n\t"                                                                                 \
                "str r4, [r3], #4\n\t"                                                                                 \
                "strd r2, r3, [sp, #16]\n\t"                                                                           \
                "cmp r2, r8\n\t"                                                                                       \
                "bne 2b\n\t"                                                                                           \
                "add sp, sp, #48\n\t"                                                                                  \
                "pop {r4-r11, pc}\n\t");                                                                               \
    }
QDSL_FOURS(qdsl_fours_words, QDSL_PAIR_WORDS, 44, QDSL_CODES_WHOLE)
QDSL_FOURS(qdsl_fours_words_any, QDSL_PAIR_WORDS, 44, QDSL_CODES_ANY)
QDSL_FOURS(qdsl_fours_bytes, QDSL_PAIR_BYTES, 60, QDSL_CODES_WHOLE)
QDSL_FOURS(qdsl_fours_bytes_any, QDSL_PAIR_BYTES, 60, QDSL_CODES_ANY)
#endif

/* Sums of four channels of a tile, [2][4]. */
#define QDSL_SUMS(name, pair, bytes)                                                                                   \
    static QDSL_NAKED void name(                                                                                       \
        QDSL_UNREAD const struct qdsl_tile *tile, QDSL_UNREAD const uint32_t *constants,                               \
        QDSL_UNREAD const void *weights, QDSL_UNREAD int32_t *sums)                                                    \
    {                                                                                                                  \
        __asm__("push {r3-r11, lr}\n\t"                                                                                \
                "mov lr, r2\n\t"                                                                                       \
                "mov r8, r1\n\t"                                                                                       \
                "ldr r12, [r0, #4]\n\t"                                                                                \
                "ldrd r10, r9, [r0, #8]\n\t" QDSL_START("r10", bytes, "r11")                                           \
                "push {r9}\n\t" QDSL_BIASES("r8")                                                                      \
                "bx r10\n\t"                                                                                           \
                ".balign 4\n" QDSL_PAIRS(pair, "0")                                                                    \
                "ldr r8, [sp, #4]\n\t"                                                                                 \
                "stm r8, {r0-r7}\n\t"                                                                                  \
                "add sp, sp, #4\n\t"                                                                                   \
                "pop {r3-r11, pc}\n\t");                                                                               \
    }
QDSL_SUMS(qdsl_sums_words, QDSL_PAIR_WORDS, 44)
QDSL_SUMS(qdsl_sums_bytes, QDSL_PAIR_BYTES, 60)
#endif
