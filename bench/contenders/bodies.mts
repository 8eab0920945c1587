// The bodies of all contenders: JSON of an exact size, the same on every machine.

/** The smallest is the minimum that `compression` and hotpath compress. */
export const SIZES = { '1kb': 1_024, '10kb': 10_240, '100kb': 102_400 } as const;
export type SizeName = keyof typeof SIZES;

export interface Product {
  readonly id: number;
  readonly name: string;
  readonly category: string;
  readonly price: number;
  readonly stock: number;
  readonly description: string;
}

const WORDS = (
  'amber arch basin birch brass cedar chalk cliff coral crest delta drift ember fern flint frost glade grain grove ' +
  'harbor hazel heath iris ivory jade lark linen lotus maple marsh meadow mist moss north oak ocean olive onyx ' +
  'opal orchard pearl pine plain quartz raven reed ridge river sage shore slate spring stone sumac tide timber vale ' +
  'velvet willow wind wren'
).split(' ');

/** Products whose JSON has exactly this many bytes. Random words, so that they compress like text. */
export function productsOf(bytes: number): Product[] {
  const next = numbers(bytes);
  const words = (count: number) =>
    Array.from({ length: count }, () => WORDS[next() % WORDS.length] as string).join(' ');
  const products: Product[] = [];
  let length = 2;
  for (let id = 1; ; id++) {
    const product: Product = {
      id,
      name: words(2),
      category: words(1),
      price: (next() % 100_000) / 100,
      stock: next() % 500,
      description: words(12),
    };
    const added = JSON.stringify(product).length + (products.length > 0 ? 1 : 0);
    if (length + added > bytes && products.length > 0) break;
    products.push(product);
    length += added;
  }
  const last = products.pop() as Product;
  const padding = 'x'.repeat(bytes - length);
  return [...products, { ...last, description: last.description + padding }];
}

/** A small pseudo-random generator (xorshift32), so that the bodies are the same in every process. */
function numbers(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
