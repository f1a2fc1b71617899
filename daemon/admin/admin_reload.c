/* RELOAD: the configuration is read again, and the answer says what became of it. */
#include "daemon/admin/admin.h"

#include "daemon/loop/log.h"

static json_t *texts_json(const struct config_problems *problems)
{
    json_t *texts = json_array();
    for (size_t i = 0; i < problems->n; i++) {
        json_array_append_new(texts, admin_json_text(problems->text[i]));
    }
    return texts;
}

void admin_reload(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)command;
    (void)source;
    struct invoker *invoker = invocation->invoker;
    struct config_problems problems, kept;
    char text[SESSION_TEXT_SIZE];
    log_info("%s RELOAD", session_text(invocation->session, text));
    if (invoker->on_reload(invoker->daemon, &problems, &kept)) {
        admin_answer_json(invocation, json_pack("{s:o}", "kept", texts_json(&kept)));
    } else {
        admin_refuse_json(invocation, problems.n > 0 ? problems.text[0] : "out of memory",
            json_pack("{s:o, s:o}", "problems", texts_json(&problems), "problemsLeftOut",
                admin_json_count(problems.n_left_out)));
    }
    config_problems_deinit(&problems);
    config_problems_deinit(&kept);
}
