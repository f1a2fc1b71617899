# Sends what the standard input says: ruby send.rb SOCKET TOPIC NAME (see README.md)
require "json"
require "socket"

SEND = 10

class Remotingd
  def initialize(path)
    @socket = UNIXSocket.new(path)
  end

  def call(code, fields, body)
    header = { code:, opaque: 1, extFields: fields }.to_json
    @socket.write([4 + header.bytesize + body.bytesize, header.bytesize].pack("NN"), header, body)
    size, n_header = @socket.read(8).unpack("NN")
    answer = JSON.parse(@socket.read(n_header))
    @socket.read(size - 4 - n_header)
    [answer["code"], answer.fetch("extFields", {})]
  end
end

path, topic, name = ARGV
daemon = Remotingd.new(path)
$stdout.sync = true
$stdin.set_encoding("UTF-8")

$stdin.each_line(chomp: true) do |line|
  number, size, key, pattern, note = line.split("\t")
  pattern = [pattern].pack("H*")
  body = (pattern * (size.to_i / pattern.bytesize + 1)).byteslice(0, size.to_i)
  fields = { "topic" => topic, "property.KEYS" => number, "property.sender" => name, "property.note" => note }
  fields["property.__SHARDINGKEY"] = key unless key == "-"
  code, answer = daemon.call(SEND, fields, body)
  told = %w[error sent uniqKey].map { |word| answer.fetch("sidecar.#{word}", "-") }
  puts [number, code, *told].join("\t")
end
