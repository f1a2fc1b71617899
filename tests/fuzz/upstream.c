/*
 * The other side: a caller asks for what every caller asks for, and a nameserver and broker answer
 * with any frames at all. Each request gets exactly one answer, in words or from the broker. The
 * first byte of an input chooses what the caller asks for; frames follow (stage.h).
 */
#include "protocol/code.h"
#include "tests/fuzz/stage.h"
#include "tests/fuzz/stage_frames.h"
#include "tests/fuzz/target.h"

#include <string.h>

#define CALLER_MAX   4096
#define REQUESTS_MAX 2

#define TO_TOPIC "\"topic\":\"" STAGE_TOPIC "\","
#define RECEIPT  "r1~" STAGE_TOPIC "~Group~" STAGE_BROKER "~0~0~0~1700000000000~60000~3~0"
#define HALF     "t1~" STAGE_TOPIC "~Producers~" STAGE_BROKER "~0~0~0A000009~T~0"

const size_t frames_at = 1;

struct request {
    int code; /* 0: no more */
    const char *ext;
    const char *body;
};

struct scene {
    struct request requests[REQUESTS_MAX];
    bool is_nameserver_scripted;
};

static const struct scene scenes[] = {
    { { { REQUEST_SEND_MESSAGE, TO_TOPIC "\"property.KEYS\":\"k\"", "body" } }, false },
    { { { REQUEST_SEND_MESSAGE, TO_TOPIC "\"sidecar.retry\":\"at-least-once\"", "body" },
          { REQUEST_SEND_MESSAGE, TO_TOPIC "\"property.__SHARDINGKEY\":\"s\"", "body" } },
        false },
    { { { REQUEST_SEND_BATCH_MESSAGE, TO_TOPIC "\"sidecar.bodyFormat\":\"json\"",
          "[{\"body\":\"a\"},{\"body\":\"b\"}]" } },
        false },
    { { { REQUEST_SEND_MESSAGE,
          TO_TOPIC "\"producerGroup\":\"Producers\",\"sidecar.transaction\":\"half\"", "half" } },
        false },
    { { { REQUEST_POP_MESSAGE,
          TO_TOPIC "\"consumerGroup\":\"Group\",\"sidecar.answerFormat\":\"json\"", "" } },
        false },
    { { { REQUEST_POP_MESSAGE,
          TO_TOPIC "\"consumerGroup\":\"Group\",\"bname\":\"" STAGE_BROKER "\"", "" } },
        false },
    { { { REQUEST_PULL_MESSAGE,
          TO_TOPIC "\"consumerGroup\":\"Group\",\"queueId\":\"0\",\"queueOffset\":\"0\","
                   "\"sidecar.answerFormat\":\"json\"",
          "" } },
        false },
    { { { REQUEST_GET_MAX_OFFSET,
            TO_TOPIC "\"queueId\":\"0\",\"sidecar.broker\":\"" STAGE_BROKER "\"", "" },
          { REQUEST_GET_MIN_OFFSET, TO_TOPIC "\"queueId\":\"0\"", "" } },
        false },
    { { { REQUEST_BATCH_ACK_MESSAGE, "", "[\"" RECEIPT "\"]" },
          { REQUEST_ACK_MESSAGE, "\"sidecar.receipt\":\"" RECEIPT "\"", "" } },
        false },
    { { { REQUEST_END_TRANSACTION, "\"commitOrRollback\":\"8\",\"sidecar.receipt\":\"" HALF "\"",
            "" },
          { REQUEST_CHANGE_MESSAGE_INVISIBLETIME,
              "\"invisibleTime\":\"9000\",\"sidecar.receipt\":\"" RECEIPT "\"", "" } },
        false },
    { { { SIDECAR_REGISTER_PROCESSOR, "\"codes\":\"39,40,220,307\",\"groups\":\"Producers\"", "" },
          { REQUEST_HEART_BEAT, "",
              "{\"clientID\":\"c\",\"producerDataSet\":[{\"groupName\":\"Producers\"}],"
              "\"consumerDataSet\":[{\"groupName\":\"Group\",\"subscriptionDataSet\":[]}]}" } },
        false },
    { { { REQUEST_GET_ROUTEINFO_BY_TOPIC, "\"topic\":\"" STAGE_TOPIC "\"", "" },
          { REQUEST_SEND_MESSAGE, "\"topic\":\"" STAGE_TOPIC "\"", "body" } },
        true },
    { { { REQUEST_GET_BROKER_CLUSTER_INFO, "", "" },
          { REQUEST_GET_MAX_OFFSET, TO_TOPIC "\"sidecar.broker\":\"" STAGE_BROKER "\"", "" } },
        true },
};

static size_t scene_write(const struct scene *scene, uint8_t dst[CALLER_MAX], size_t *ret_n)
{
    size_t size = 0;
    size_t n = 0;
    for (; n < REQUESTS_MAX && scene->requests[n].code != 0; n++) {
        const struct request *request = &scene->requests[n];
        size_t n_ext = strlen(request->ext);
        char ext[CALLER_MAX];
        (void)snprintf(ext, sizeof(ext), "%s", request->ext);
        if (n_ext > 0 && ext[n_ext - 1] == ',') {
            ext[n_ext - 1] = '\0';
        }
        size += stage_request(dst + size, CALLER_MAX - size, request->code, (int)n + 1, 0, ext,
            span_of(request->body));
    }
    *ret_n = n;
    return size;
}

static bool wants_json(const struct request *request)
{
    return strstr(request->ext, "answerFormat") || request->code == REQUEST_BATCH_ACK_MESSAGE;
}

struct check {
    const struct scene *scene;
    size_t n_requests;
    size_t n_answers[REQUESTS_MAX]; /* to each */
};

static void check_answer(
    void *context, const struct remoting_command *answer, enum serialize_type serialize_type)
{
    struct check *check = context;
    size_t i = (size_t)answer->opaque - 1;
    promise(i < check->n_requests && ++check->n_answers[i] == 1, "an answer to %d",
        (int)answer->opaque);
    promise(serialize_type == SERIALIZE_JSON, "the binary form");
    if (answer->code == RESPONSE_SUCCESS && wants_json(&check->scene->requests[i])) {
        stage_promise_json(answer);
    }
}

static void check_answers(
    const struct scene *scene, size_t n_requests, const struct stage_answers *answers)
{
    struct check check = { .scene = scene, .n_requests = n_requests };
    stage_responses_each(answers, check_answer, &check);
    for (size_t i = 0; i < n_requests; i++) {
        promise(check.n_answers[i] == 1, "no answer to %d", scene->requests[i].code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < frames_at) {
        return 0;
    }
    const struct scene *scene = &scenes[data[0] % (sizeof(scenes) / sizeof(scenes[0]))];
    uint8_t caller[CALLER_MAX];
    size_t n_requests;
    size_t size = scene_write(scene, caller, &n_requests);
    const struct stage_script script = {
        .caller = { (const char *)caller, size },
        .n_awaited = n_requests,
        .broker = { (const char *)data + frames_at, n - frames_at },
        .is_nameserver_scripted = scene->is_nameserver_scripted,
    };
    struct stage_answers answers;
    stage_play(&script, &answers);
    check_answers(scene, n_requests, &answers);
    free(answers.data);
    return 0;
}
