/** Calls a function some time after it was first wanted, and at most once in that time. */
export class Throttle {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly call: () => void,
    private readonly intervalMs: number,
  ) {}

  /** Wants a call. */
  want(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.call();
    }, this.intervalMs);
  }

  /** Forgets what is wanted. */
  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
