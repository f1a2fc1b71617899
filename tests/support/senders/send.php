<?php
// Sends what the standard input says: php send.php SOCKET TOPIC NAME (see README.md)
declare(strict_types=1);

const SEND = 10;

[, $path, $topic, $name] = $argv;
$daemon = stream_socket_client("unix://$path") ?: exit(1);

function read_bytes(int $n): string
{
    global $daemon;
    $data = $n > 0 ? stream_get_contents($daemon, $n) : '';
    if (strlen($data) !== $n) {
        fwrite(STDERR, "the daemon is gone\n");
        exit(1);
    }
    return $data;
}

function call(int $code, array $fields, string $body): array
{
    global $daemon;
    $header = json_encode(['code' => $code, 'opaque' => 1, 'extFields' => $fields], JSON_THROW_ON_ERROR);
    $frame = pack('NN', 4 + strlen($header) + strlen($body), strlen($header)) . $header . $body;
    while ($frame !== '') {
        $n = fwrite($daemon, $frame) ?: exit(1);
        $frame = substr($frame, $n);
    }
    ['size' => $size, 'header' => $n] = unpack('Nsize/Nheader', read_bytes(8));
    $answer = json_decode(read_bytes($n), true);
    read_bytes($size - 4 - $n);
    return [$answer['code'], $answer['extFields'] ?? []];
}

while (($line = fgets(STDIN)) !== false) {
    [$number, $size, $key, $pattern, $note] = explode("\t", rtrim($line, "\n"));
    $pattern = hex2bin($pattern);
    $body = substr(str_repeat($pattern, intdiv((int) $size, strlen($pattern)) + 1), 0, (int) $size);
    $fields = ['topic' => $topic, 'property.KEYS' => $number, 'property.sender' => $name, 'property.note' => $note];
    if ($key !== '-') {
        $fields['property.__SHARDINGKEY'] = $key;
    }
    [$code, $answer] = call(SEND, $fields, $body);
    $told = array_map(fn ($word) => $answer["sidecar.$word"] ?? '-', ['error', 'sent', 'uniqKey']);
    echo implode("\t", [$number, $code, ...$told]), "\n";
}
