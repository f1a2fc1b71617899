/*
 * Message body
 *
 * Decompression of stored bodies (message.h). The three libraries are brought to one shape, a step
 * that takes some input and gives some output, so that the limit, the growing of the result and the
 * judging of a stream that ends too early stand here once. What a body claims about its own size is
 * not believed: memory follows what comes out.
 */
#include "protocol/message.h"

#include <limits.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/*
 * The window up to which every zstd decoder should go (8 MiB), and which levels up to 19 do not
 * exceed. A frame's header may ask for 128 MiB before the first byte comes out; only who allows
 * results of that size gets such windows.
 */
#define ZSTD_WINDOW_LOG_MIN 23
#define ZSTD_WINDOW_LOG_MAX 27

#define RESULT_CAPACITY_MIN 1024

enum step_result {
    STEP_GOES_ON,
    STEP_ENDED, /* at the end of a stream: nothing is missing */
    STEP_CORRUPT,
    STEP_TOO_LARGE,
    STEP_NO_MEMORY,
};

/* Before a step the room on both sides, after it what was used of them. */
struct step {
    const char *src;
    size_t src_n;
    char *dst;
    size_t dst_n;
};

union codec_state {
    z_stream zlib;
    LZ4F_dctx *lz4;
    ZSTD_DCtx *zstd;
};

struct codec {
    bool (*open)(union codec_state *state, size_t size_limit); /* false: no memory */
    enum step_result (*take)(union codec_state *state, struct step *step);
    void (*close)(union codec_state *state);
};

static bool zlib_open(union codec_state *state, size_t size_limit)
{
    (void)size_limit; /* the window is 32 KiB at most */
    state->zlib = (z_stream){ 0 };
    return inflateInit(&state->zlib) == Z_OK;
}

static enum step_result zlib_take(union codec_state *state, struct step *step)
{
    z_stream *stream = &state->zlib;
    uInt src_n = step->src_n < UINT_MAX ? (uInt)step->src_n : UINT_MAX;
    uInt dst_n = step->dst_n < UINT_MAX ? (uInt)step->dst_n : UINT_MAX;
    stream->next_in = (z_const Bytef *)step->src;
    stream->avail_in = src_n;
    stream->next_out = (Bytef *)step->dst;
    stream->avail_out = dst_n;
    int status = inflate(stream, Z_NO_FLUSH);
    step->src_n = src_n - stream->avail_in;
    step->dst_n = dst_n - stream->avail_out;
    switch (status) {
    case Z_OK:
    case Z_BUF_ERROR: /* nothing more to be had from what was given */
        return STEP_GOES_ON;
    case Z_STREAM_END:
        return STEP_ENDED;
    case Z_MEM_ERROR:
        return STEP_NO_MEMORY;
    default:
        return STEP_CORRUPT;
    }
}

static void zlib_close(union codec_state *state)
{
    (void)inflateEnd(&state->zlib);
}

static bool lz4_open(union codec_state *state, size_t size_limit)
{
    (void)size_limit; /* blocks are 4 MiB at most */
    return !LZ4F_isError(LZ4F_createDecompressionContext(&state->lz4, LZ4F_VERSION));
}

static enum step_result lz4_take(union codec_state *state, struct step *step)
{
    size_t hint =
        LZ4F_decompress(state->lz4, step->dst, &step->dst_n, step->src, &step->src_n, NULL);
    if (LZ4F_isError(hint)) {
        /* The number of this error is not part of liblz4's stable interface, its name is. */
        return strcmp(LZ4F_getErrorName(hint), "ERROR_allocation_failed") == 0 ? STEP_NO_MEMORY
                                                                               : STEP_CORRUPT;
    }
    return hint == 0 ? STEP_ENDED : STEP_GOES_ON;
}

static void lz4_close(union codec_state *state)
{
    (void)LZ4F_freeDecompressionContext(state->lz4);
}

static bool zstd_open(union codec_state *state, size_t size_limit)
{
    state->zstd = ZSTD_createDCtx();
    if (!state->zstd) {
        return false;
    }
    int window_log = ZSTD_WINDOW_LOG_MIN;
    while (window_log < ZSTD_WINDOW_LOG_MAX && ((size_t)1 << window_log) < size_limit) {
        window_log++;
    }
    (void)ZSTD_DCtx_setParameter(state->zstd, ZSTD_d_windowLogMax, window_log);
    return true;
}

static enum step_result zstd_take(union codec_state *state, struct step *step)
{
    ZSTD_inBuffer src = { .src = step->src, .size = step->src_n };
    ZSTD_outBuffer dst = { .dst = step->dst, .size = step->dst_n };
    size_t hint = ZSTD_decompressStream(state->zstd, &dst, &src);
    if (ZSTD_isError(hint)) {
        ZSTD_ErrorCode error = ZSTD_getErrorCode(hint);
        if (error == ZSTD_error_memory_allocation) {
            return STEP_NO_MEMORY;
        }
        return error == ZSTD_error_frameParameter_windowTooLarge ? STEP_TOO_LARGE : STEP_CORRUPT;
    }
    step->src_n = src.pos;
    step->dst_n = dst.pos;
    return hint == 0 ? STEP_ENDED : STEP_GOES_ON;
}

static void zstd_close(union codec_state *state)
{
    (void)ZSTD_freeDCtx(state->zstd);
}

static const struct codec zlib_codec = { zlib_open, zlib_take, zlib_close };
static const struct codec lz4_codec = { lz4_open, lz4_take, lz4_close };
static const struct codec zstd_codec = { zstd_open, zstd_take, zstd_close };

/* CompressionType.java. NULL for a type that nobody has given a meaning yet. */
static const struct codec *find_codec(int32_t sys_flag)
{
    switch ((sys_flag & MESSAGE_SYSFLAG_COMPRESSION) >> 8) {
    case 0: /* senders of a time when there was nothing else */
    case 3:
        return &zlib_codec;
    case 1:
        return &lz4_codec;
    case 2:
        return &zstd_codec;
    default:
        return NULL;
    }
}

struct result {
    char *data;
    size_t n;
    size_t capacity;
    size_t size_limit;
};

/*
 * Makes room for at least one more byte, doubling. The room ends one byte behind the limit: only a
 * byte that comes out there tells a body that is too large from one that just fits.
 */
static enum message_body_status result_grow(struct result *result)
{
    if (result->n < result->capacity) {
        return MESSAGE_BODY_OK;
    }
    if (result->n > result->size_limit) {
        return MESSAGE_BODY_TOO_LARGE;
    }
    size_t most = result->size_limit < SIZE_MAX ? result->size_limit + 1 : SIZE_MAX;
    size_t wanted = result->capacity < most / 2 ? 2 * result->capacity : most;
    if (wanted < RESULT_CAPACITY_MIN) {
        wanted = most < RESULT_CAPACITY_MIN ? most : RESULT_CAPACITY_MIN;
    }
    char *data = realloc(result->data, wanted);
    if (!data) {
        return MESSAGE_BODY_NO_MEMORY;
    }
    result->data = data;
    result->capacity = wanted;
    return MESSAGE_BODY_OK;
}

/*
 * Bytes behind a finished stream: Java's Inflater leaves them alone, its LZ4 and zstd streams take
 * them for one more frame. The same here, so that a body is good for a caller exactly when it is
 * good for a consumer in Java.
 */
static bool is_finished(const struct codec *codec, size_t src_left)
{
    return src_left == 0 || codec == &zlib_codec;
}

static enum message_body_status run(
    const struct codec *codec, union codec_state *state, struct span src, struct result *result)
{
    for (;;) {
        enum message_body_status status = result_grow(result);
        if (status != MESSAGE_BODY_OK) {
            return status;
        }
        struct step step = { src.data, src.n, result->data + result->n,
            result->capacity - result->n };
        enum step_result taken = codec->take(state, &step);
        switch (taken) {
        case STEP_CORRUPT:
            return MESSAGE_BODY_CORRUPT;
        case STEP_TOO_LARGE:
            return MESSAGE_BODY_TOO_LARGE;
        case STEP_NO_MEMORY:
            return MESSAGE_BODY_NO_MEMORY;
        case STEP_ENDED:
        case STEP_GOES_ON:
            break;
        }
        result->n += step.dst_n;
        src.data += step.src_n;
        src.n -= step.src_n;
        if (result->n > result->size_limit) {
            return MESSAGE_BODY_TOO_LARGE;
        }
        if (taken == STEP_ENDED && is_finished(codec, src.n)) {
            return MESSAGE_BODY_OK;
        }
        if (step.src_n == 0 && step.dst_n == 0) {
            return MESSAGE_BODY_CORRUPT; /* there was room: it is input that is missing */
        }
    }
}

enum message_body_status message_body_decompress(
    const struct message *message, size_t size_limit, char **ret_body, size_t *ret_size)
{
    const struct codec *codec = find_codec(message->sys_flag);
    if (!codec) {
        return MESSAGE_BODY_UNKNOWN_COMPRESSION;
    }
    union codec_state state;
    if (!codec->open(&state, size_limit)) {
        return MESSAGE_BODY_NO_MEMORY;
    }
    struct result result = { .size_limit = size_limit };
    enum message_body_status status = run(codec, &state, message->body, &result);
    codec->close(&state);
    if (status != MESSAGE_BODY_OK) {
        free(result.data);
        return status;
    }
    /* Gives the rest of the last doubling back. One byte at least: an empty body is not NULL. */
    char *fitted = realloc(result.data, result.n > 0 ? result.n : 1);
    *ret_body = fitted ? fitted : result.data;
    *ret_size = result.n;
    return MESSAGE_BODY_OK;
}

/* Message.compressLevel of DefaultMQProducer. */
#define COMPRESS_LEVEL 5

/*
 * Java's LZ4FrameInputStream refuses frames whose blocks lean on each other, which are liblz4's
 * default beyond one block; its LZ4FrameOutputStream writes blocks of 4 MiB.
 */
static const LZ4F_preferences_t lz4_preferences = {
    .frameInfo = { .blockSizeID = LZ4F_max4MB, .blockMode = LZ4F_blockIndependent },
};

size_t message_body_compress_bound(enum message_compression compression, size_t n)
{
    switch (compression) {
    case MESSAGE_COMPRESSION_LZ4:
        return LZ4F_compressFrameBound(n, &lz4_preferences);
    case MESSAGE_COMPRESSION_ZSTD:
        return ZSTD_compressBound(n);
    case MESSAGE_COMPRESSION_ZLIB:
        break;
    }
    return compressBound((uLong)n);
}

size_t message_body_compress(enum message_compression compression, struct span body, char *dst)
{
    size_t capacity = message_body_compress_bound(compression, body.n);
    uLongf n_zlib = (uLongf)capacity;
    size_t n;
    switch (compression) {
    case MESSAGE_COMPRESSION_LZ4:
        n = LZ4F_compressFrame(dst, capacity, body.data, body.n, &lz4_preferences);
        return LZ4F_isError(n) ? 0 : n;
    case MESSAGE_COMPRESSION_ZSTD:
        n = ZSTD_compress(dst, capacity, body.data, body.n, COMPRESS_LEVEL);
        return ZSTD_isError(n) ? 0 : n;
    case MESSAGE_COMPRESSION_ZLIB:
        break;
    }
    const Bytef *src = (const Bytef *)body.data;
    int r = compress2((Bytef *)dst, &n_zlib, src, (uLong)body.n, COMPRESS_LEVEL);
    return r == Z_OK ? (size_t)n_zlib : 0;
}

int32_t message_compression_sys_flag(enum message_compression compression)
{
    return MESSAGE_SYSFLAG_COMPRESSED | (int32_t)compression << 8;
}
