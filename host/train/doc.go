// Package train fine-tunes a model with the negatives of each rule, and says which rule helped, with intervals.
//
// Input: a data set with texts, the negatives of rules (package mining mines those of window rules; others come as a Source), and a
// Python with sentence-transformers, which trains. Output: a Table of MRR@3 and MRR@10 of each rule and of the controls, as the paper's
// Table 3, and a folder with every job, TREC run and result. A comparison that was cut short goes on from there. The command line calls
// Compare and Ablate.
package train
