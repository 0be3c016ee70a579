/** What the connections of one server count together. */
export class Traffic {
  messagesReceived = 0
  bytesReceived = 0
  messagesSent = 0
  bytesSent = 0
  messagesDropped = 0
}
