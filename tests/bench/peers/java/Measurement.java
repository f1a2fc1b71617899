import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The measured time of a run: latencies of what began in it, CPU of this process, and the JSON object
 * that bench_load prints too. Threads only ask isRunning and isMeasured, and record.
 */
final class Measurement {
    private static final int LATENCIES_MAX = 8_000_000;

    private final long[] latencies = new long[LATENCIES_MAX];
    private final AtomicInteger nLatencies = new AtomicInteger();
    private final AtomicLong nRequests = new AtomicLong();
    private volatile boolean isMeasured;
    private volatile boolean isRunning = true;
    private double seconds;
    private double cpuSeconds;

    boolean isRunning() {
        return isRunning;
    }

    boolean isMeasured() {
        return isMeasured;
    }

    /** The number of the next request, from 0. */
    long next() {
        return nRequests.getAndIncrement();
    }

    void record(long nanos) {
        int at = nLatencies.getAndIncrement();
        if (at < LATENCIES_MAX) {
            latencies[at] = nanos;
        }
    }

    private static double cpu() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
            .getProcessCpuTime() / 1e9;
    }

    /** Warms up, measures, and tells the threads to end. */
    void run(double warmUpSeconds, double measuredSeconds) throws InterruptedException {
        Thread.sleep((long) (warmUpSeconds * 1000));
        isMeasured = true;
        long begin = System.nanoTime();
        double cpu = cpu();
        Thread.sleep((long) (measuredSeconds * 1000));
        isRunning = false;
        seconds = (System.nanoTime() - begin) / 1e9;
        cpuSeconds = cpu() - cpu;
    }

    /** After the last request has ended. */
    void print() {
        int n = Math.min(nLatencies.get(), LATENCIES_MAX);
        Arrays.sort(latencies, 0, n);
        System.out.printf("{\"requests\": %d, \"total\": %d, \"seconds\": %.6f, \"rate\": %.1f, "
                + "\"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu_s\": %.6f}%n",
            nLatencies.get(), nRequests.get(), seconds, nLatencies.get() / seconds,
            latencies[n / 2] / 1e3, latencies[(int) (n * 0.99)] / 1e3, cpuSeconds);
        System.out.flush();
    }

    /** A benchmark has nothing to save. */
    static void fail(String why) {
        System.err.println(why);
        Runtime.getRuntime().halt(1);
    }
}
