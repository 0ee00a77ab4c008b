// Package audit looks for false negatives: documents that were mined as negatives and are relevant all the same.
//
// Input: pairs with negatives (package negatives) and the data set they were mined from. Output: a Report with independent signals of each
// negative, the reasons that they give in words, and one score; and Keep, the pairs without the negatives above a score. The audit command
// calls it, and so does what shows negatives to people. The command in folder calibrate makes the score's coefficients.
package audit
