import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/**
 * Java's own producer against a real broker: DefaultMQProducer
 *
 *     Producer NAMESERVERS TOPIC THREADS BODY WARM_UP_SECONDS SECONDS
 *
 * Each thread sends its next message when the broker has stored the one before.
 */
public final class Producer {
    private final DefaultMQProducer producer = new DefaultMQProducer("bench_producers");
    private final Measurement measurement = new Measurement();
    private final String topic;
    private final byte[] body;
    private final CountDownLatch threads;

    private Producer(String nameservers, String topic, int threads, int size) {
        this.topic = topic;
        this.threads = new CountDownLatch(threads);
        this.body = new byte[size];
        Arrays.fill(body, (byte) 'x');
        producer.setNamesrvAddr(nameservers);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setSendMsgTimeout(10_000);
    }

    private void send() {
        while (measurement.isRunning()) {
            measurement.next();
            boolean counts = measurement.isMeasured();
            long begin = System.nanoTime();
            try {
                if (producer.send(new Message(topic, body)).getSendStatus() != SendStatus.SEND_OK) {
                    Measurement.fail("a message was not stored");
                }
            } catch (Exception exception) {
                Measurement.fail(exception.toString());
            }
            if (counts) {
                measurement.record(System.nanoTime() - begin);
            }
        }
        threads.countDown();
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 6) {
            Measurement.fail(
                "usage: Producer NAMESERVERS TOPIC THREADS BODY WARM_UP_SECONDS SECONDS");
        }
        Producer bench = new Producer(arguments[0], arguments[1], Integer.parseInt(arguments[2]),
            Integer.parseInt(arguments[3]));
        bench.producer.start();
        long n = bench.threads.getCount();
        for (long i = 0; i < n; i++) {
            new Thread(bench::send).start();
        }
        bench.measurement.run(Double.parseDouble(arguments[4]), Double.parseDouble(arguments[5]));
        bench.threads.await();
        bench.measurement.print();
        Runtime.getRuntime().halt(0);
    }
}
