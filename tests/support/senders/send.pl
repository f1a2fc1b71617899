#!/usr/bin/perl
# Sends what the standard input says: perl send.pl SOCKET TOPIC NAME (see README.md)
use v5.24;
use warnings;
use IO::Socket::UNIX;
use JSON::PP qw(encode_json decode_json);

use constant SEND => 10;

my ($path, $topic, $name) = @ARGV;
my $daemon = IO::Socket::UNIX->new($path) or die "no daemon at $path: $!\n";

sub read_bytes {
    my ($n) = @_;
    my $data = '';
    $n == 0 or read($daemon, $data, $n) == $n or die "the daemon is gone\n";
    return $data;
}

sub call {
    my ($code, $fields, $body) = @_;
    my $header = encode_json({ code => $code, opaque => 1, extFields => $fields });
    print {$daemon} pack('N N/a* a*', 4 + length($header) + length($body), $header, $body);
    $daemon->flush;
    my ($size, $n) = unpack('NN', read_bytes(8));
    my $answer = decode_json(read_bytes($n));
    read_bytes($size - 4 - $n);
    return ($answer->{code}, $answer->{extFields} // {});
}

binmode STDIN, ':utf8';
STDOUT->autoflush;
while (my $line = <STDIN>) {
    chomp $line;
    my ($number, $size, $key, $pattern, $note) = split /\t/, $line;
    $pattern = pack('H*', $pattern);
    my $body = substr($pattern x (int($size / length $pattern) + 1), 0, $size);
    my %fields = (topic => $topic, 'property.KEYS' => $number, 'property.sender' => $name, 'property.note' => $note);
    $fields{'property.__SHARDINGKEY'} = $key if $key ne '-';
    my ($code, $answer) = call(SEND, \%fields, $body);
    say join "\t", $number, $code, map { $answer->{"sidecar.$_"} // '-' } qw(error sent uniqKey);
}
