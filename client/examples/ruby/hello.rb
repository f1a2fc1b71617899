# Sends a message, receives it, acknowledges it: ruby hello.rb SOCKET TOPIC GROUP
require "json"
require "socket"

SEND, POP, ACK = 10, 200050, 200051

class Remotingd
  def initialize(path)
    @socket = UNIXSocket.new(path)
  end

  def call(code, fields, body = "")
    header = { code:, opaque: 1, extFields: fields }.to_json
    @socket.write([4 + header.bytesize + body.bytesize, header.bytesize].pack("NN"), header, body)
    size, n_header = @socket.read(8).unpack("NN")
    answer = JSON.parse(@socket.read(n_header))
    body = @socket.read(size - 4 - n_header)
    abort "code #{answer["code"]}: #{answer["remark"]}" unless answer["code"].zero?
    [answer.fetch("extFields", {}), body]
  end
end

path, topic, group = ARGV
daemon = Remotingd.new(path)

sent, = daemon.call(SEND, { "topic" => topic, "property.KEYS" => "hello-1" }, "hello from Ruby")
puts "sent to #{sent["brokerName"]} queue #{sent["queueId"]} offset #{sent["queueOffset"]}"

wanted = { "topic" => topic, "consumerGroup" => group, "sidecar.answerFormat" => "json" }
JSON.parse(daemon.call(POP, wanted).last).each do |message|
  puts "received: #{message["body"]}"
  daemon.call(ACK, { "sidecar.receipt" => message["receipt"] })
end
