// Package report makes one HTML file of negatives: what was mined, from how near, where it lies on the first two principal components, what
// the rules give beside one another, and cases to read and to mark.
//
// Input: pairs with their negatives, the data set they were mined from, and where there are any a manifest, a projection, the evidence of a
// comparison and an audit. Output: a page that needs nothing else, no network and no other file. Its numbers stand in it as JSON, which its
// script draws with Observable Plot. The command report writes such pages, and so does demo.
package report
