/** Reads server-sent events. The browser's own reader cannot send the headers of the chosen tenant. */

/** One message of a stream of server-sent events. */
export interface SseMessage {
  /** The latest identifier of the stream; empty where there was none yet. */
  id: string;
  /** What it is called; `message` where it has no name. */
  event: string;
  data: string;
}

/** The longest message that is read, in characters: longer ones are left out and counted. */
export const SSE_MESSAGE_CHARS_MAX = 8_388_608;

/** Puts messages together from the parts in which a stream arrives. */
export class SseReader {
  /** Messages that were too long. */
  dropped = 0;
  /** The latest identifier; a stream may say one without a message. */
  id = "";
  private rest = "";
  private event = "";
  private data: string[] = [];
  private chars = 0;
  private tooLong = false;
  private begun = false;

  /** How many characters wait for the end of their message. */
  get pending(): number {
    return this.rest.length + this.chars;
  }

  /** Returns the messages that a part completes, in their order. */
  feed(part: string): SseMessage[] {
    const messages: SseMessage[] = [];
    const text = this.rest + (this.begun ? part : part.replace(/^\uFEFF/, ""));
    this.begun ||= part !== "";
    let start = 0;
    for (;;) {
      const end = lineEnd(text, start);
      if (!end) break;
      this.line(text.slice(start, end.at), messages);
      start = end.next;
    }
    this.rest = text.slice(start);
    if (this.pending > SSE_MESSAGE_CHARS_MAX) this.forget();
    return messages;
  }

  /** Lets go of a message that is too long, but remembers that it is not over. */
  private forget(): void {
    this.tooLong = true;
    this.rest = this.rest.slice(0, 1);
    this.data = [];
    this.chars = 0;
  }

  private line(line: string, messages: SseMessage[]): void {
    if (line === "") {
      if (this.tooLong) this.dropped += 1;
      else if (this.data.length > 0) {
        messages.push({
          id: this.id,
          event: this.event === "" ? "message" : this.event,
          data: this.data.join("\n"),
        });
      }
      this.tooLong = false;
      this.event = "";
      this.data = [];
      this.chars = 0;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0 || this.tooLong) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") {
      this.data.push(value);
      this.chars += value.length;
      if (this.chars > SSE_MESSAGE_CHARS_MAX) this.forget();
    } else if (name === "event") this.event = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
  }
}

/** Returns where the line that begins at `start` ends, or undefined where its end has not come yet. */
function lineEnd(text: string, start: number): { at: number; next: number } | undefined {
  const feed = text.indexOf("\n", start);
  const before = feed < 0 ? text.length : feed;
  const carriage = text.slice(start, before).indexOf("\r");
  if (carriage < 0) return feed < 0 ? undefined : { at: feed, next: feed + 1 };
  const at = start + carriage;
  if (text[at + 1] === "\n") return { at, next: at + 2 };
  // A line feed may still follow in the next part.
  return at + 1 === text.length ? undefined : { at, next: at + 1 };
}
