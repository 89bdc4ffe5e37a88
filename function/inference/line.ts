export class Place<Item> {
  readonly item: Item
  older: Place<Item> | undefined
  newer: Place<Item> | undefined

  constructor(item: Item) {
    this.item = item
  }
}

/**
 * A doubly linked list in order of arrival. Removing an item takes the same short time at any
 * place.
 */
export class Line<Item> {
  oldest: Place<Item> | undefined
  newest: Place<Item> | undefined

  get isEmpty(): boolean {
    return this.oldest === undefined
  }

  add(place: Place<Item>): void {
    place.older = this.newest
    if (this.newest === undefined) this.oldest = place
    else this.newest.newer = place
    this.newest = place
  }

  remove(place: Place<Item>): void {
    const { older, newer } = place
    if (older === undefined) this.oldest = newer
    else older.newer = newer
    if (newer === undefined) this.newest = older
    else newer.older = older
    place.older = undefined
    place.newer = undefined
  }
}
