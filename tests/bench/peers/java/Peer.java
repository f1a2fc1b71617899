import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.remoting.InvokeCallback;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.netty.ResponseFuture;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * The Java client in-process: NettyRemotingClient against the stub
 *
 *     Peer HOST:PORT IN_FLIGHT BODY WARM_UP_SECONDS SECONDS
 *
 * One request in flight is invokeSync; more are invokeAsync, where each callback sends the next one,
 * so that no thread waits. All share one client, and so one connection; every answer has to carry
 * its request's token.
 */
public final class Peer {
    private static final int SEND_MESSAGE_V2 = 310;
    private static final int TOKEN_SIZE = 16;
    private static final long TIMEOUT_MILLIS = 10_000;

    private final NettyRemotingClient client = new NettyRemotingClient(new NettyClientConfig());
    private final Measurement measurement = new Measurement();
    private final String address;
    private final int size;
    private final CountDownLatch inFlight;

    private Peer(String address, int inFlight, int size) {
        this.address = address;
        this.inFlight = new CountDownLatch(inFlight);
        this.size = size;
    }

    /** Both ends of a body carry the token. */
    private byte[] body(long number) {
        byte[] body = new byte[size];
        Arrays.fill(body, (byte) 'x');
        ByteBuffer.wrap(body).putLong(number).putLong(~number);
        System.arraycopy(body, 0, body, size - TOKEN_SIZE, TOKEN_SIZE);
        return body;
    }

    /** The ext fields of the callers of tests/bench/request.c. */
    private RemotingCommand request(byte[] body) {
        RemotingCommand request = RemotingCommand.createRequestCommand(SEND_MESSAGE_V2, null);
        request.addExtField("b", "bench");
        request.addExtField("sidecar.addr", address);
        request.addExtField("a", "bench_producers");
        request.addExtField("c", "TBW102");
        request.addExtField("d", "4");
        request.addExtField("e", "0");
        request.addExtField("f", "0");
        request.addExtField("g", "1795401242924");
        request.addExtField("i", "UNIQ_KEY\u00017F00000100012A139E5D000000000001\u0002");
        request.setBody(body);
        return request;
    }

    private void take(RemotingCommand answer, byte[] sent, long begin, boolean counts) {
        long latency = System.nanoTime() - begin;
        byte[] body = answer.getBody();
        if (answer.getCode() != 0 || body == null
            || !Arrays.equals(body, 0, TOKEN_SIZE, sent, 0, TOKEN_SIZE)) {
            Measurement.fail("not the answer to this request: " + answer);
        }
        if (counts) {
            measurement.record(latency);
        }
    }

    private void sendSync() {
        while (measurement.isRunning()) {
            byte[] sent = body(measurement.next());
            boolean counts = measurement.isMeasured();
            long begin = System.nanoTime();
            try {
                RemotingCommand answer = client.invokeSync(address, request(sent), TIMEOUT_MILLIS);
                take(answer, sent, begin, counts);
            } catch (Exception exception) {
                Measurement.fail(exception.toString());
            }
        }
        inFlight.countDown();
    }

    private void sendAsync() {
        if (!measurement.isRunning()) {
            inFlight.countDown();
            return;
        }
        byte[] sent = body(measurement.next());
        boolean counts = measurement.isMeasured();
        long begin = System.nanoTime();
        try {
            client.invokeAsync(address, request(sent), TIMEOUT_MILLIS, new InvokeCallback() {
                @Override
                public void operationComplete(ResponseFuture future) {
                }

                @Override
                public void operationSucceed(RemotingCommand answer) {
                    take(answer, sent, begin, counts);
                    sendAsync();
                }

                @Override
                public void operationFail(Throwable cause) {
                    Measurement.fail(cause.toString());
                }
            });
        } catch (Exception exception) {
            Measurement.fail(exception.toString());
        }
    }

    private void begin() {
        client.start();
        long n = inFlight.getCount();
        if (n == 1) {
            new Thread(this::sendSync).start();
            return;
        }
        for (long i = 0; i < n; i++) {
            sendAsync();
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 5) {
            Measurement.fail("usage: Peer HOST:PORT IN_FLIGHT BODY WARM_UP_SECONDS SECONDS");
        }
        Peer peer = new Peer(arguments[0], Integer.parseInt(arguments[1]),
            Integer.parseInt(arguments[2]));
        peer.begin();
        peer.measurement.run(Double.parseDouble(arguments[3]), Double.parseDouble(arguments[4]));
        peer.inFlight.await();
        peer.measurement.print();
        Runtime.getRuntime().halt(0);
    }
}
