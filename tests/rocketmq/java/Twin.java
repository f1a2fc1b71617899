import com.alibaba.fastjson.JSON;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Java's side of the story twin.py, whose messages it sends and reads with Java's own client:
 *
 *     Twin send NAMESERVERS TOPIC [timer]             sends each of them once, and prints "sent"
 *     Twin receive NAMESERVERS TOPIC...               prints each message of the topics as a line of
 *                                                     JSON
 *
 * timer: the brokers have timer messages.
 */
public final class Twin {
    private static final String GROUP = "TwinDeciders";
    private static final int TIMEOUT_MILLIS = 20000;

    private final String topic;
    private final DefaultMQProducer producer;
    private final boolean hasTimer;

    private Twin(String nameservers, String topic, boolean hasTimer) {
        this.topic = topic;
        this.hasTimer = hasTimer;
        producer = new DefaultMQProducer("Twin");
        producer.setNamesrvAddr(nameservers);
        producer.setMqClientApiTimeout(TIMEOUT_MILLIS);
        producer.setSendMsgTimeout(TIMEOUT_MILLIS);
    }

    private Message message(String name) {
        Message message = new Message(topic, name.getBytes(StandardCharsets.UTF_8));
        message.putUserProperty("name", name);
        return message;
    }

    private void sendPlain() throws Exception {
        producer.send(message("plain"));
        producer.sendOneway(message("oneway"));
        Message notWaiting = message("not-waiting");
        notWaiting.setWaitStoreMsgOK(false);
        producer.send(notWaiting);
    }

    private void sendProperties() throws Exception {
        Message message = message("properties");
        message.setTags("blue");
        message.setKeys("order-17 order-18");
        message.setFlag(17);
        message.setBuyerId("buyer");
        message.setInstanceId("instance");
        message.setPriority(3);
        message.putUserProperty("colour", "grün");
        message.putUserProperty("animal", "\uD83D\uDC07");
        message.putUserProperty("quoted", "\"a\\b\"\t\n");
        producer.send(message);

        Message keys = message("keys");
        keys.setKeys(Arrays.asList("k1", "k2"));
        producer.send(keys);
    }

    /** Bytes that compress badly. */
    private static byte[] noise(int size) {
        byte[] bytes = new byte[size];
        int state = 1;
        for (int i = 0; i < size; i++) {
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF;
            bytes[i] = (byte) (state >> 16);
        }
        return bytes;
    }

    private static byte[] digits(int size) {
        byte[] bytes = new byte[size];
        for (int i = 0; i < size; i++) {
            bytes[i] = (byte) ('0' + i * 7 / 3 % 10);
        }
        return bytes;
    }

    private void sendLarge(String name, byte[] body) throws Exception {
        Message message = message(name);
        message.setBody(body);
        producer.send(message);
    }

    private void sendCompressed() throws Exception {
        for (int size : new int[] {4095, 4096, 100000}) {
            sendLarge("digits-" + size, digits(size));
        }
        sendLarge("noise", noise(5000));
        for (CompressionType type : new CompressionType[] {CompressionType.LZ4, CompressionType.ZSTD}) {
            producer.setCompressType(type);
            sendLarge("digits-" + type.name().toLowerCase(), digits(100000));
        }
    }

    private void sendDelayed() throws Exception {
        Message level = message("level");
        level.setDelayTimeLevel(1);
        producer.send(level);
        if (!hasTimer) {
            return;
        }
        Message seconds = message("timer-seconds");
        seconds.setDelayTimeSec(1);
        producer.send(seconds);
        Message millis = message("timer-millis");
        millis.setDelayTimeMs(1000);
        producer.send(millis);
        Message deliver = message("timer-deliver");
        deliver.setDeliverTimeMs(System.currentTimeMillis() + 1000);
        producer.send(deliver);
    }

    private void sendOrdered() throws Exception {
        for (String key : new String[] {"order-17", "größe-7", "\uD83D\uDC07"}) {
            Message message = message("ordered-" + key);
            message.putUserProperty(MessageConst.PROPERTY_SHARDING_KEY, key);
            producer.send(message, new SelectMessageQueueByHash(), key);
        }
    }

    private void sendBatches() throws Exception {
        List<Message> batch = new ArrayList<>();
        batch.add(message("batch-0"));
        Message second = message("batch-1");
        second.setKeys("k1");
        second.setTags("blue");
        batch.add(second);
        producer.send(batch);

        List<Message> notWaiting = new ArrayList<>();
        for (int i = 2; i < 4; i++) {
            Message message = message("batch-" + i);
            message.setWaitStoreMsgOK(false);
            notWaiting.add(message);
        }
        producer.send(notWaiting);
    }

    private void sendHalf(String nameservers) throws Exception {
        TransactionMQProducer decider = new TransactionMQProducer(GROUP);
        decider.setNamesrvAddr(nameservers);
        decider.setMqClientApiTimeout(TIMEOUT_MILLIS);
        decider.setSendMsgTimeout(TIMEOUT_MILLIS);
        decider.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        decider.start();
        decider.sendMessageInTransaction(message("committed"), null);
        decider.shutdown();
    }

    private static void send(String nameservers, String topic, boolean hasTimer) throws Exception {
        Twin twin = new Twin(nameservers, topic, hasTimer);
        twin.producer.start();
        twin.sendPlain();
        twin.sendProperties();
        twin.sendCompressed();
        twin.sendDelayed();
        twin.sendOrdered();
        twin.sendBatches();
        twin.sendHalf(nameservers);
        twin.producer.shutdown();
        System.out.println("sent");
    }

    private static void print(MessageExt message) {
        Map<String, Object> row = new TreeMap<>();
        row.put("topic", message.getTopic());
        row.put("body", Base64.getEncoder().encodeToString(message.getBody()));
        row.put("flag", message.getFlag());
        row.put("sysFlag", message.getSysFlag());
        row.put("tags", message.getTags());
        row.put("keys", message.getKeys());
        row.put("properties", message.getProperties());
        System.out.println(JSON.toJSONString(row));
    }

    /** By offset, and not as a group: all is stored already, and both topics are read to their end. */
    private static void receive(String nameservers, List<String> topics) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("TwinReaders");
        consumer.setNamesrvAddr(nameservers);
        consumer.setMqClientApiTimeout(TIMEOUT_MILLIS);
        consumer.start();
        for (String topic : topics) {
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
                long end = consumer.maxOffset(queue);
                for (long offset = consumer.minOffset(queue); offset < end;) {
                    PullResult result = consumer.pull(queue, "*", offset, 32, TIMEOUT_MILLIS);
                    if (result.getPullStatus() == PullStatus.FOUND) {
                        result.getMsgFoundList().forEach(Twin::print);
                    }
                    offset = result.getNextBeginOffset();
                }
            }
        }
    }

    private static void run(String[] arguments) throws Exception {
        List<String> rest = Arrays.asList(arguments);
        if (arguments[0].equals("send")) {
            send(arguments[1], arguments[2], rest.contains("timer"));
        } else {
            receive(arguments[1], rest.subList(2, rest.size()));
        }
    }

    /** The client's threads would keep the program running whatever became of this one. */
    public static void main(String[] arguments) {
        try {
            run(arguments);
            System.exit(0);
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(1);
        }
    }
}
