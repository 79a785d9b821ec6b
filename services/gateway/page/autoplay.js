// @ts-check
/** Spins one after the other until something that the player named happens. Only where the policy allows it. */
export class Autoplay {
  /** @param {import("./table.js").Table} table @param {{count: HTMLSelectElement, feature: HTMLInputElement, loss: HTMLSelectElement}} parts */
  constructor(table, parts) {
    this.table = table;
    this.parts = parts;
  }

  async run() {
    const { table } = this;
    if (table.busy || table.open || table.auto) return;
    table.auto = Number(this.parts.count.value);
    const floorMinor = table.balanceMinor - Number(this.parts.loss.value);
    while (table.auto > 0) {
      if (table.balanceMinor - table.bets.stakeMinor < floorMinor) {
        table.say("Autoplay has stopped: the next bet could go below your limit");
        break;
      }
      table.auto -= 1;
      const left = table.auto;
      // The last one: the button is no stop button any more.
      const round = await table.spin({ autoplay: true });
      if (!round || table.open) break;
      if (table.featured && this.parts.feature.checked) {
        table.say("Autoplay has stopped: a feature");
        break;
      }
      if (left > 0 && table.auto > 0) await table.pace.wait(500);
    }
    table.auto = 0;
    table.draw();
  }
}
