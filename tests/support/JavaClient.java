import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Scanner;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Java's own client beside the daemon's callers (java_client.py)
 *
 *     JavaClient consume NAMESERVERS TOPIC GROUP    "got BROKER QUEUE OFFSET BODY" for each message,
 *                                                   "queues BROKER/QUEUE ..." when its share changes
 *     JavaClient reply NAMESERVERS TOPIC GROUP      replies "re: BODY" to request messages
 *     JavaClient request NAMESERVERS TOPIC MILLIS   "reply BODY" or "failed WHY" for each line read
 *
 * "ready" when it has started. An empty line shuts it down as an application does.
 */
public final class JavaClient {
    /** On a busy machine the client's own 3 s are over before its classes are loaded. */
    private static final int TIMEOUT_MILLIS = 20_000;

    private static String lastQueues = "";

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    private static DefaultMQPushConsumer consumer(String[] arguments) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(arguments[3]);
        consumer.setNamesrvAddr(arguments[1]);
        consumer.setMqClientApiTimeout(TIMEOUT_MILLIS);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(2);
        consumer.setConsumeThreadMax(2);
        consumer.subscribe(arguments[2], "*");
        return consumer;
    }

    private static void sayQueues(DefaultMQPushConsumer consumer, String topic) {
        TreeSet<String> queues = new TreeSet<>();
        for (MessageQueue queue : consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl()
                 .getProcessQueueTable().keySet()) {
            if (queue.getTopic().equals(topic)) {
                queues.add(queue.getBrokerName() + "/" + queue.getQueueId());
            }
        }
        String line = ("queues " + String.join(" ", queues)).trim();
        if (!line.equals(lastQueues)) {
            lastQueues = line;
            say(line);
        }
    }

    private static void consume(String[] arguments) throws Exception {
        DefaultMQPushConsumer consumer = consumer(arguments);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                say("got " + message.getBrokerName() + " " + message.getQueueId() + " "
                    + message.getQueueOffset() + " " + text(message.getBody()));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        say("ready");
        while (System.in.available() == 0) {
            sayQueues(consumer, arguments[2]);
            Thread.sleep(100);
        }
        consumer.shutdown();
    }

    private static void reply(String[] arguments) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(arguments[3] + "-replies");
        producer.setNamesrvAddr(arguments[1]);
        producer.setMqClientApiTimeout(TIMEOUT_MILLIS);
        producer.setSendMsgTimeout(TIMEOUT_MILLIS);
        producer.start();
        DefaultMQPushConsumer consumer = consumer(arguments);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                try {
                    byte[] body = ("re: " + text(message.getBody())).getBytes(StandardCharsets.UTF_8);
                    producer.send(MessageUtil.createReplyMessage(message, body), TIMEOUT_MILLIS);
                    say("replied " + text(message.getBody()));
                } catch (Exception exception) {
                    say("failed " + exception);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        say("ready");
        System.in.read();
        consumer.shutdown();
        producer.shutdown();
    }

    private static void request(String[] arguments) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("java-requests");
        producer.setNamesrvAddr(arguments[1]);
        producer.setMqClientApiTimeout(TIMEOUT_MILLIS);
        producer.setSendMsgTimeout(TIMEOUT_MILLIS);
        producer.start();
        say("ready");
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            String line = lines.nextLine();
            if (line.isEmpty()) {
                break;
            }
            try {
                Message request =
                    new Message(arguments[2], line.getBytes(StandardCharsets.UTF_8));
                Message answer = producer.request(request, Long.parseLong(arguments[3]));
                say("reply " + text(answer.getBody()));
            } catch (Exception exception) {
                say("failed " + exception);
            }
        }
        producer.shutdown();
    }

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "consume":
                consume(arguments);
                break;
            case "reply":
                reply(arguments);
                break;
            case "request":
                request(arguments);
                break;
            default:
                throw new IllegalArgumentException(String.join(" ", List.of(arguments)));
        }
        System.exit(0);
    }
}
