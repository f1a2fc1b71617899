#!/usr/bin/perl
# Sends a message, receives it, acknowledges it: perl hello.pl SOCKET TOPIC GROUP
use v5.24;
use warnings;
use IO::Socket::UNIX;
use JSON::PP qw(encode_json decode_json);

use constant { SEND => 10, POP => 200050, ACK => 200051 };

my ($path, $topic, $group) = @ARGV;
my $daemon = IO::Socket::UNIX->new($path) or die "no daemon at $path: $!\n";

sub call {
    my ($code, $fields, $body) = (@_, '');
    my $header = encode_json({ code => $code, opaque => 1, extFields => $fields });
    print {$daemon} pack('N N/a* a*', 4 + length($header) + length($body), $header, $body);
    $daemon->flush;
    read($daemon, my $prefix, 8) == 8 or die "the daemon is gone\n";
    my ($size, $n) = unpack('NN', $prefix);
    read($daemon, $header, $n);
    read($daemon, $body, $size - 4 - $n);
    my $answer = decode_json($header);
    die "code $answer->{code}: $answer->{remark}\n" if $answer->{code};
    return ($answer->{extFields}, $body);
}

binmode STDOUT, ':utf8';
my ($sent) = call(SEND, { topic => $topic, 'property.KEYS' => 'hello-1' }, 'hello from Perl');
say "sent to $sent->{brokerName} queue $sent->{queueId} offset $sent->{queueOffset}";

my %wanted = (topic => $topic, consumerGroup => $group, 'sidecar.answerFormat' => 'json');
my (undef, $messages) = call(POP, \%wanted);
for my $message (decode_json($messages)->@*) {
    say "received: $message->{body}";
    call(ACK, { 'sidecar.receipt' => $message->{receipt} });
}
