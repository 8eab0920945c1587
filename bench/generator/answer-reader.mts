// As much of HTTP/1.1 as the generator needs: where an answer ends, and its status. One answer at a time.

const END_OF_HEAD = Buffer.from('\r\n\r\n');
const END_OF_CHUNKS = Buffer.from('0\r\n\r\n');

export class AnswerReader {
  #head: Buffer = Buffer.alloc(0);
  /** Bytes of the body that are still to come; -1: it comes in chunks; `undefined`: the head is not over. */
  #left: number | undefined;
  #status = 0;
  #end: Buffer = Buffer.alloc(0);

  /** Takes what came. Returns the status when the answer is over. */
  read(chunk: Buffer): number | undefined {
    let body = chunk;
    if (this.#left === undefined) {
      const all = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
      const end = all.indexOf(END_OF_HEAD);
      if (end < 0) {
        this.#head = all;
        return undefined;
      }
      this.#readHead(all.toString('latin1', 0, end));
      body = all.subarray(end + END_OF_HEAD.length);
    }
    return this.#isOver(body) ? this.#finish() : undefined;
  }

  #readHead(head: string): void {
    this.#status = Number(head.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(head);
    if (length) this.#left = Number(length[1]);
    else this.#left = /\r\ntransfer-encoding: *chunked/i.test(head) ? -1 : 0;
    if (this.#status === 304 || this.#status === 204) this.#left = 0;
  }

  #isOver(body: Buffer): boolean {
    if (this.#left !== -1) {
      this.#left = (this.#left as number) - body.length;
      return this.#left <= 0;
    }
    // The end of an answer in chunks, looked for in the last bytes only: nothing follows it on this connection.
    const tail = body.length >= END_OF_CHUNKS.length ? body : Buffer.concat([this.#end, body]);
    this.#end = Buffer.from(tail.subarray(-END_OF_CHUNKS.length));
    return this.#end.equals(END_OF_CHUNKS);
  }

  #finish(): number {
    this.#head = Buffer.alloc(0);
    this.#end = Buffer.alloc(0);
    this.#left = undefined;
    return this.#status;
  }
}
