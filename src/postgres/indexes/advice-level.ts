/**
 * How an advice was proved. `verified`: by a hypothetical index; `sampled`: on a sample of the rows; `trial`: by a real
 * build that was rolled back; `estimated`: from statistics alone.
 */
export type AdviceLevel = 'verified' | 'sampled' | 'trial' | 'estimated';
