#include "tests/fuzz/stage_frames.h"

#include "protocol/bytes.h"
#include "protocol/code.h"
#include "protocol/frame.h"
#include "protocol/message.h"
#include "tests/fuzz/target.h"

#include <string.h>

size_t stage_request(uint8_t *dst, size_t size_max, int code, int opaque, int flag, const char *ext,
    struct span body)
{
    char *header;
    int n = asprintf(&header,
        "{\"code\":%d,\"extFields\":{%s},\"flag\":%d,\"language\":\"CPP\",\"opaque\":%d,"
        "\"version\":%d}",
        code, ext, flag, opaque, REMOTING_VERSION);
    promise(n > 0, "no memory");
    size_t size = FRAME_PREFIX_SIZE + (size_t)n + body.n;
    promise(size <= size_max, "%zu bytes", size);
    frame_encode_prefix(dst, SERIALIZE_JSON, (size_t)n, body.n);
    memcpy(dst + FRAME_PREFIX_SIZE, header, (size_t)n);
    if (body.n > 0) {
        memcpy(dst + FRAME_PREFIX_SIZE + n, body.data, body.n);
    }
    free(header);
    return size;
}

static struct span stored_message(void)
{
    static uint8_t message[256];
    static const char body[] = "body";
    static const char properties[] = "TAGS\x01tag\x02UNIQ_KEY\x01"
                                     "0A000009002A00000007000000010001";
    struct bytes_writer writer;
    bytes_writer_init(&writer, message, sizeof(message));
    size_t size = 88 + sizeof(body) - 1 + 1 + sizeof(STAGE_TOPIC) - 1 + 2 + sizeof(properties) - 1;
    bytes_write_i32(&writer, (int32_t)size);
    bytes_write_i32(&writer, MESSAGE_MAGIC_V1);
    for (int i = 0; i < 18; i++) {
        bytes_write_i32(&writer, 0); /* all numbers from the body's CRC to prepared transactions */
    }
    bytes_write_i64(&writer, 0);
    bytes_writer_init(&writer, message + 84, sizeof(message) - 84);
    bytes_write_i32(&writer, sizeof(body) - 1);
    bytes_write(&writer, body, sizeof(body) - 1);
    bytes_write_u8(&writer, sizeof(STAGE_TOPIC) - 1);
    bytes_write(&writer, STAGE_TOPIC, sizeof(STAGE_TOPIC) - 1);
    bytes_write_i16(&writer, sizeof(properties) - 1);
    bytes_write(&writer, properties, sizeof(properties) - 1);
    promise(!bytes_writer_failed(&writer), "the message does not fit");
    return (struct span){ (const char *)message, size };
}

void good_answer_make(const struct remoting_command *request, struct good_answer *answer)
{
    *answer = (struct good_answer){ .code = RESPONSE_SUCCESS, .ext = "" };
    switch (request->code) {
    case REQUEST_SEND_MESSAGE:
    case REQUEST_SEND_MESSAGE_V2:
    case REQUEST_SEND_BATCH_MESSAGE:
        answer->ext = "\"msgId\":\"7F00000100002A9F0000000000000000\",\"queueId\":\"0\","
                      "\"queueOffset\":\"0\",\"transactionId\":\"T\"";
        return;
    case REQUEST_POP_MESSAGE:
        answer->ext = "\"popTime\":\"1700000000000\",\"invisibleTime\":\"60000\",\"reviveQid\":"
                      "\"3\",\"restNum\":\"0\",\"startOffsetInfo\":\"0 0 0\","
                      "\"msgOffsetInfo\":\"0 0 0\"";
        answer->body = stored_message();
        return;
    case REQUEST_PULL_MESSAGE:
    case REQUEST_LITE_PULL_MESSAGE:
        answer->ext = "\"nextBeginOffset\":\"1\",\"minOffset\":\"0\",\"maxOffset\":\"1\","
                      "\"suggestWhichBrokerId\":\"0\"";
        answer->body = stored_message();
        return;
    case REQUEST_NOTIFICATION:
        answer->ext = "\"hasMsg\":\"true\",\"pollingFull\":\"false\"";
        return;
    default:
        answer->body = request->body;
        return;
    }
}
