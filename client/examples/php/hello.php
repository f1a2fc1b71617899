<?php
// Sends a message, receives it, acknowledges it: php hello.php SOCKET TOPIC GROUP
declare(strict_types=1);

const SEND = 10, POP = 200050, ACK = 200051;

[, $path, $topic, $group] = $argv;
$daemon = stream_socket_client("unix://$path") ?: exit("no daemon at $path\n");

function call(int $code, array $fields, string $body = ''): array
{
    global $daemon;
    $header = json_encode(['code' => $code, 'opaque' => 1, 'extFields' => $fields]);
    fwrite($daemon, pack('NN', 4 + strlen($header) + strlen($body), strlen($header)) . $header . $body);
    ['size' => $size, 'header' => $n] = unpack('Nsize/Nheader', stream_get_contents($daemon, 8));
    $answer = json_decode(stream_get_contents($daemon, $n), true);
    $body = $size - 4 - $n > 0 ? stream_get_contents($daemon, $size - 4 - $n) : '';
    if ($answer['code'] !== 0) {
        fwrite(STDERR, "code {$answer['code']}: " . ($answer['remark'] ?? '') . "\n");
        exit(1);
    }
    return [$answer['extFields'] ?? [], $body];
}

[$sent] = call(SEND, ['topic' => $topic, 'property.KEYS' => 'hello-1'], 'hello from PHP');
echo "sent to {$sent['brokerName']} queue {$sent['queueId']} offset {$sent['queueOffset']}\n";

[, $body] = call(POP, ['topic' => $topic, 'consumerGroup' => $group, 'sidecar.answerFormat' => 'json']);
foreach (json_decode($body, true) as $message) {
    echo "received: {$message['body']}\n";
    call(ACK, ['sidecar.receipt' => $message['receipt']]);
}
